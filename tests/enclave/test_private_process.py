"""A real enclave process with a privacy budget, killed by SIGKILL between charge and release, and at random moments."""

import os
import random
import signal
from contextlib import suppress

import pytest
from tests.enclave.hosting import Client, Gone, Hosted, RefusedQuestion, now, resigned, start, write_home
from tests.playground import MODEL, private_parties

from crimson_enclave.host.launcher import RunningEnclave
from crimson_enclave.measurement import measure
from crimson_protocol.policy.document import EvidenceRules
from crimson_protocol.receipt import PrivacyCharge, unverified_receipt
from crimson_protocol.wire.envelope import Envelope
from crimson_protocol.wire.messages.release import Release

RELEASES = 4


class Federation:
    """Hospitals in this process, and the enclave in its sandbox."""

    def __init__(self, folder) -> None:
        parties = private_parties(6, RELEASES)
        evidence = EvidenceRules(("sim",), (measure(),), (parties.root.public,), ())
        parties = resigned(parties, evidence=evidence, expires=now() + 10**6)
        self.home = write_home(folder / "enclave", parties)
        self.enclave: RunningEnclave = start(self.home)
        self.hosted = Hosted(folder / "nodes", parties, lambda: Client(self.enclave.socket))

    def kill(self) -> None:
        """SIGKILL to the whole sandbox, as the launcher's own end would have it, and a new start."""
        os.kill(self.enclave.process.pid, signal.SIGKILL)
        self.enclave.process.wait()
        self.enclave = start(self.home)

    def last_charge(self) -> PrivacyCharge:
        """What the receipt of the last release says of the ledger."""
        data = self.hosted.releases[max(self.hosted.releases)]
        charge = unverified_receipt(
            Release.from_bytes(Envelope.from_bytes(data, 1 << 28).body, 1 << 28).receipt
        )
        assert charge.privacy is not None
        return charge.privacy


@pytest.fixture
def federation(tmp_path):
    made = Federation(tmp_path)
    yield made
    made.enclave.stop()


def test_kill_9_between_charge_and_release_spends_and_releases_nothing(federation: Federation):
    hosted = federation.hosted
    assert hosted.round(hosted.client()).phase == "Released"
    first = federation.last_charge()
    hosted.until(hosted.client(), "Unmasking")
    federation.kill()
    client = hosted.client()
    assert client.status().phase == "Lost" and not client.status().again
    hosted.recover(client)
    for charged in (3, 4):
        assert hosted.round(client).phase == "Released"
        assert federation.last_charge().releases == charged
    assert first.releases == 1 and first.after_thousandths < federation.last_charge().before_thousandths
    with pytest.raises(RefusedQuestion, match="budget-exhausted"):
        hosted.begin(client)
    federation.kill()
    client = hosted.client()
    hosted.recover(client)
    with pytest.raises(RefusedQuestion, match="budget-exhausted"):
        hosted.begin(client)
    assert len(hosted.releases) == RELEASES - 1


class Killer(Client):
    """A connection that kills the enclave when `left` frames were sent."""

    left = 0
    victim: RunningEnclave

    def send(self, data: bytes) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(self.victim.process.pid, signal.SIGKILL)
        super().send(data)


@pytest.mark.parametrize("seed", [3, 14])
def test_kill_9_at_a_random_moment_never_gives_budget_back(federation: Federation, seed):
    """The next receipt counts at least what every node counted, and its own round."""
    hosted, chance = federation.hosted, random.Random(seed)

    def connect() -> Client:
        client = Killer(federation.enclave.socket)
        client.left, client.victim = chance.randrange(25, 90), federation.enclave
        return client

    calm = hosted.connect
    hosted.connect = connect
    with suppress(Gone):
        hosted.round(hosted.client())
    hosted.connect = calm
    asked = max(agent.seen.charges.get(MODEL, 0) for agent in hosted.agents)
    federation.kill()
    client = hosted.client()
    released = client.status().phase == "Released"
    hosted.recover(client)
    assert hosted.round(client).phase == "Released"
    assert asked + 1 <= federation.last_charge().releases <= 2
    assert len(hosted.releases) == released + 1
