"""Attack 5: messages of an earlier attempt or round, resent at each stage. They are refused and change nothing."""

import numpy as np
import pytest
from tests.adversary import finish, nothing_opened, send
from tests.playground import Play, lanes, parse

from crimson_enclave.state import Aborted, Released
from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal

STAGES = ("offer", "roster", "shared", "frozen", "request", "release")


class Tape:
    """Everything that enclave and nodes said in one attempt."""

    def __init__(self) -> None:
        self.enclave: list[tuple[int | None, bytes]] = []
        self.nodes: list[tuple[int, bytes, bytes]] = []

    def play(self, federation: Play, said, stages=STAGES) -> None:
        for stage in stages:
            self.enclave += said
            for node, reply in federation.deliver(said).items():
                self.nodes.append((node, reply.control, bytes(reply.payload or b"")))
            if stage != stages[-1]:
                said = federation.close()


def old_attempt(federation: Play) -> Tape:
    """Attempt 1, stopped before anybody confirmed."""
    tape = Tape()
    federation.prepare()
    tape.play(federation, federation.open(), STAGES[:3])
    frozen = federation.close()
    tape.enclave += frozen
    terms = federation.session.state.judged.agreement.terms
    federation.session.state = Aborted(terms, Refusal.COHORT_TOO_SMALL, (), again=True)
    tape.enclave += federation.session._aborted(federation.session.state)
    return tape


def resend_to_nodes(federation: Play, tape: Tape) -> set[tuple[str, Refusal]]:
    """Every old message of the enclave to its recipients; what they refused for, and that nothing moved."""
    codes = set()
    for recipient, data in tape.enclave:
        for node in range(federation.nodes) if recipient is None else [recipient]:
            before = federation.agents[node].state
            with pytest.raises(PeerFault) as caught:
                federation.agents[node].receive(data, federation.consistency(node))
            assert federation.agents[node].state is before
            codes.add((type(parse(data)).__name__, caught.value.code))
    return codes


def resend_to_enclave(federation: Play, tape: Tape) -> set[tuple[str, Refusal]]:
    codes = set()
    for _, control, payload in tape.nodes:
        before = federation.session.state
        faults = send(federation, control, *([payload] if payload else []))
        assert federation.session.state is before
        assert len(faults) == 1
        codes.add((type(parse(control)).__name__, faults[0].code))
    return codes


@pytest.mark.parametrize("stage", range(6))
def test_an_earlier_attempt_resent_at_each_stage(play, stage):
    federation = play(6)
    tape = old_attempt(federation)
    federation.prepare()
    said = federation.open(again=True)
    for _ in range(stage):
        federation.deliver(said)
        said = federation.close()
    to_nodes, to_enclave = resend_to_nodes(federation, tape), resend_to_enclave(federation, tape)
    # The honest node whose words are repeated is not the one to blame.
    assert {code for _, code in to_enclave} <= {Refusal.WRONG_PHASE, Refusal.WRONG_CONTEXT}
    assert {fault.culprit for fault in federation.session.faults} == {"gateway"}
    if stage:
        # The message that a node waits for is looked at, and is of another context.
        waits_for = STAGES[stage]
        kind = {"roster": "Roster", "shared": "Shared", "frozen": "Freeze", "request": "UnmaskRequest"}
        if waits_for in kind and waits_for != "request":
            assert (kind[waits_for], Refusal.WRONG_CONTEXT) in to_nodes
        assert ("Abort", Refusal.WRONG_CONTEXT) in to_nodes
    else:
        assert ("Offer", Refusal.ROUND_WENT_BACK) in to_nodes
    assert {code for _, code in to_nodes} <= {
        Refusal.WRONG_PHASE,
        Refusal.WRONG_CONTEXT,
        Refusal.ROUND_WENT_BACK,
    }
    assert finish(federation, said) == "Released"
    assert np.array_equal(lanes(federation), federation.plain_sum(range(6)))


@pytest.mark.parametrize("stage", range(6))
def test_an_earlier_round_resent_at_each_stage(play, stage):
    federation = play(4)
    tape = Tape()
    federation.prepare()
    tape.play(federation, federation.open())
    assert isinstance(federation.session.state, Released)
    federation.prepare()
    said = federation.open()
    for _ in range(stage):
        federation.deliver(said)
        said = federation.close()
    before = len(federation.opened)
    refused = resend_to_nodes(federation, tape) | resend_to_enclave(federation, tape)
    assert {code for _, code in refused} <= {
        Refusal.WRONG_PHASE,
        Refusal.WRONG_CONTEXT,
        Refusal.MODEL_REJECTED,
        Refusal.SECOND_REQUEST,
    }
    assert len(federation.opened) == before
    assert finish(federation, said) == "Released"
    assert np.array_equal(lanes(federation), federation.plain_sum(range(4)))


def test_an_offer_of_an_earlier_round_is_refused_by_the_journal_of_a_restarted_node(play):
    federation = play(4)
    tape = Tape()
    federation.prepare()
    tape.play(federation, federation.open(), STAGES[:2])
    federation.agents = [federation.agent(node) for node in range(4)]
    federation.prepare()
    for node, agent in enumerate(federation.agents):
        with pytest.raises(PeerFault) as caught:
            agent.receive(tape.enclave[0][1], federation.consistency(node))
        assert (caught.value.code, caught.value.culprit) == (Refusal.ROUND_WENT_BACK, "enclave")
        assert agent.state.phase.value == "Ready"
    nothing_opened(federation)


def test_repeating_what_was_taken_changes_nothing(play):
    """The relay may send everything twice."""
    federation = play(6)
    federation.prepare()
    said = federation.open()
    for stage in STAGES:
        for node, reply in federation.deliver(said).items():
            state, faults = federation.session.state, federation.upload(node, reply)
            assert faults == ()
            assert federation.session.state == state or stage in ("offer", "roster", "frozen")
        said = federation.close() if stage != "release" else said
    assert np.array_equal(lanes(federation), federation.plain_sum(range(6)))
