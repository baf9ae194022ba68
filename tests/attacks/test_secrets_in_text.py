"""An attacker who reads logs, tracebacks and crash dumps of objects finds no key, seed, share or update."""

import copy
import pickle

import pytest
from tests.playground import entropy

from crimson_protocol.secret.keys import BoxKey, DualKey, IdentityKey, RoundRoot, Secret

PHASES = ("offer", "roster", "shared", "frozen", "request", "release")


def planted(federation) -> list[bytes]:
    """Every secret that the parties hold at this moment and a test can name."""
    found = [key.reveal() for key in federation.parties.identities + federation.parties.encryptions]
    found += [federation.session.instance.signing.reveal(), federation.session.instance.box.reveal()]
    for agent in federation.agents:
        secrets = getattr(agent.state, "secrets", None)
        if secrets:
            found += [secrets.root.reveal(), secrets.seed.reveal(), secrets.share_key.reveal()]
        for held in getattr(agent.state, "held", {}).values():
            found += [held.self_share.reveal(), held.root_share.reveal()]
    enclave = getattr(federation.session.state, "secrets", None)
    if enclave:
        found += [enclave.round_key.reveal(), enclave.signer.reveal()]
    return found


@pytest.mark.parametrize("phase", PHASES)
def test_no_secret_shows_in_a_repr(play, phase):
    federation = play(4)
    federation.until(phase)
    texts = [repr(federation.session), repr(federation.session.state)]
    texts += [repr(agent.state) for agent in federation.agents] + [repr(agent) for agent in federation.agents]
    shown = "\n".join(texts)
    for secret in planted(federation):
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown
    for index in range(4):
        assert repr(federation.update(index).parameters[0]) not in shown


@pytest.mark.parametrize("kind", [Secret, IdentityKey, DualKey, BoxKey, RoundRoot])
def test_a_secret_is_neither_shown_nor_pickled_nor_compared(kind):
    secret = kind.fresh(entropy(1))
    assert secret.reveal().hex() not in repr(secret) + str(secret)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.copy(secret)
    with pytest.raises(TypeError):
        assert secret == kind.fresh(entropy(1))
    with pytest.raises(TypeError):
        hash(secret)


def test_a_failed_opening_says_nothing_of_what_it_tried(play):
    key, other = BoxKey.fresh(entropy(1)), BoxKey.fresh(entropy(2))
    with pytest.raises(Exception) as caught:
        key.open(b"info", bytes(1200))
    assert key.reveal().hex() not in str(caught.value)
    assert other.reveal().hex() not in repr(caught.value.__context__)
