"""The phase table, pair by pair: what it allows is taken, everything else is refused and changes nothing."""

import hashlib
import inspect
import re
from collections.abc import Callable

import pytest
from tests.adversary import as_node, finish, others, send, turn
from tests.playground import Play, parse, sketched_parties

import crimson_node.rounds.share as share_step
from crimson_enclave import dispatch
from crimson_enclave import state as enclave_states
from crimson_node import state as node_states
from crimson_node.agent import Agent
from crimson_protocol.errors import PeerFault
from crimson_protocol.phases import MOVES, Deadline, EnclavePhase, NodePhase, diagram, legal
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.messages.endorse import Endorse
from crimson_protocol.wire.messages.release import Abort
from crimson_protocol.wire.messages.submit import Complaint
from crimson_protocol.wire.table import MESSAGES, Role

STAGES = ("offer", "roster", "shared", "frozen", "verdict", "request", "release")
TO_ENCLAVE = [item.record for item in MESSAGES if item.sender is Role.NODE and not item.inner]
TO_NODE = [item.record for item in MESSAGES if item.sender is Role.ENCLAVE]


class Stage:
    """A federation in mid-round, with one message of every type that was or could be said in it."""

    def __init__(self, play: Callable[..., Play], monkeypatch: pytest.MonkeyPatch) -> None:
        self.federation, self.monkeypatch = play(4, parties=sketched_parties(4)), monkeypatch
        self.spoken: dict[type, bytes] = {}
        self.payload = b""

    def run(self, stop: Callable[[Play], bool]) -> None:
        """Play until `stop` holds, keeping one message of each type from or for site 1."""
        federation = self.federation
        federation.prepare()
        said = federation.open()
        for stage in (*STAGES, ""):
            self.keep(said)
            for recipient, data in said:
                if stop(federation):
                    return
                for node, reply in federation.deliver([(recipient, data)]).items():
                    if node == 1:
                        self.spoken[type(parse(reply.control))] = reply.control
                        self.payload = bytes(reply.payload or self.payload)
            if stop(federation):
                return
            said = federation.close() if stage not in ("release", "") else []
        raise AssertionError("the phase was never reached")

    def keep(self, said) -> None:
        for recipient, data in said:
            if recipient in (None, 1):
                self.spoken[type(parse(data))] = data

    def rest(self) -> dict[type, bytes]:
        """One message of each type: spoken ones, and from a twin of the round those still to come."""
        twin = type(self)(
            lambda nodes, parties: Play(self.federation.home / "twin", nodes, parties=parties),
            self.monkeypatch,
        )
        twin.run(lambda federation: federation.agents[1].state.phase is NodePhase.FINISHED)
        federation = self.federation
        offer = enclave_states.terms_of(federation.session.state)
        abort = federation.forge(Abort(offer.offer_digest, "test"))
        complaint = Complaint(bytes(32), 1, 0, "manifest", None)
        return {
            **twin.spoken,
            Abort: abort,
            Complaint: as_node(federation, 1, complaint),
            Endorse: as_node(federation, 1, Endorse("federation", 1, 1, bytes(32))),
            **self.spoken,
        }


def enclave_at(phase: EnclavePhase) -> Callable[[Play], bool]:
    return lambda federation: federation.session.state.phase is phase


def node_at(phase: NodePhase) -> Callable[[Play], bool]:
    return lambda federation: federation.agents[1].state.phase is phase


def reach_enclave(play, monkeypatch, phase) -> Stage:
    stage = Stage(play, monkeypatch)
    if phase is EnclavePhase.ABORTED:
        stage.run(enclave_at(EnclavePhase.SHARING))
        stage.federation.session.state = enclave_states.Aborted(
            enclave_states.terms_of(stage.federation.session.state), Refusal.COHORT_TOO_SMALL, (), again=True
        )
    else:
        stage.run(enclave_at(phase))
    return stage


def reach_node(play, monkeypatch, phase) -> Stage:
    stage = Stage(play, monkeypatch)
    if phase is NodePhase.WITHDRAWN:
        stage.run(node_at(NodePhase.ADVERTISED))
        stage.federation.agents[1].state = node_states.Withdrawn("test")
    else:
        stage.run(node_at(phase))
    return stage


ILLEGAL_ENCLAVE = [(p, t) for p in EnclavePhase for t in TO_ENCLAVE if legal(Role.ENCLAVE, p, t) is None]
ILLEGAL_NODE = [(p, t) for p in NodePhase for t in TO_NODE if legal(Role.NODE, p, t) is None]
name = lambda value: getattr(value, "value", None) or value.__name__


@pytest.mark.parametrize(("phase", "trigger"), ILLEGAL_ENCLAVE, ids=name)
def test_the_enclave_refuses_every_other_message(play, monkeypatch, phase, trigger):
    stage = reach_enclave(play, monkeypatch, phase)
    session, control = stage.federation.session, stage.rest()[trigger]
    before = session.state
    # What the enclave heard once before comes from the relay the second time, whoever signed it.
    culprit = "gateway" if hashlib.sha256(control).digest() in session.heard else "site-1"
    faults = send(stage.federation, control, stage.payload)
    assert [(fault.culprit, fault.code) for fault in faults] == [(culprit, Refusal.WRONG_PHASE)]
    assert session.state is before


@pytest.mark.parametrize(("phase", "trigger"), ILLEGAL_NODE, ids=name)
def test_a_node_refuses_every_other_message(play, monkeypatch, phase, trigger):
    stage = reach_node(play, monkeypatch, phase)
    agent, data = stage.federation.agents[1], stage.rest()[trigger]
    before = agent.state
    with pytest.raises(PeerFault) as caught:
        agent.receive(data)
    # With no attempt running there is no enclave whose signature could be checked: the relay's, then.
    idle = phase in (NodePhase.FINISHED, NodePhase.WITHDRAWN)
    assert (caught.value.code, caught.value.culprit) == (
        Refusal.WRONG_PHASE,
        "gateway" if idle else "enclave",
    )
    assert agent.state is before


def test_a_whole_round_takes_the_legal_moves_of_both_roles(play):
    """Every move on the path to a release, seen as it happens."""
    seen = set()
    for federation in (play(4), play(4, parties=sketched_parties(4))):
        seen |= moves_of_a_round(federation)
    allowed = {(move.before, move.trigger, after) for move in MOVES for after in move.after}
    assert seen <= allowed
    ends = {EnclavePhase.ABORTED, NodePhase.WITHDRAWN}
    assert allowed - seen == {
        *((before, trigger, after) for before, trigger, after in allowed if after in ends),
        (EnclavePhase.SUBMITTING, Complaint, EnclavePhase.SUBMITTING),
        *((b, t, a) for b, t, a in allowed if b is NodePhase.OPENED and a is NodePhase.OPENED),
        *((b, t, a) for b, t, a in allowed if b is NodePhase.CONFIRMED and a is NodePhase.FINISHED),
    }


def moves_of_a_round(federation: Play) -> set[tuple]:
    federation.prepare()
    stages, said, seen = federation.stages, federation.open(), set()
    for stage in stages:
        for recipient, data in said:
            before = federation.agents[1].state.phase
            replies = federation.deliver([(recipient, data)], upload=False)
            if recipient in (None, 1):
                seen.add((before, type(parse(data)), federation.agents[1].state.phase))
            for node, reply in replies.items():
                at, kind = federation.session.state.phase, type(parse(reply.control))
                assert federation.upload(node, reply) == ()
                seen.add((at, kind, federation.session.state.phase))
        if stage != "release":
            at = federation.session.state.phase
            said = federation.close()
            seen.add((at, Deadline, federation.session.state.phase))
    return seen


ABORTS = [move.before for move in MOVES if move.role is Role.NODE and move.trigger is Abort]


@pytest.mark.parametrize("phase", ABORTS, ids=name)
def test_an_abort_of_this_attempt_ends_it_for_the_node_and_of_another_does_not(play, monkeypatch, phase):
    stage = reach_node(play, monkeypatch, phase)
    federation, agent = stage.federation, stage.federation.agents[1]
    before = agent.state
    with pytest.raises(PeerFault) as caught:
        agent.receive(federation.forge(Abort(bytes(32), "replayed")))
    assert (caught.value.code, agent.state) == (Refusal.WRONG_CONTEXT, before)
    offer = enclave_states.terms_of(federation.session.state).offer_digest
    assert agent.receive(federation.forge(Abort(offer, "lost"))) is None
    assert agent.state == node_states.Withdrawn("lost")


@pytest.mark.parametrize("phase", [p for p in EnclavePhase if legal(Role.ENCLAVE, p, Deadline)], ids=name)
def test_time_that_runs_out_ends_every_phase_of_the_enclave(play, monkeypatch, phase):
    """Nobody answers: the enclave never waits for ever, and never goes on with nothing."""
    stage = Stage(play, monkeypatch)
    federation = stage.federation
    federation.prepare()
    said = federation.open()
    while federation.session.state.phase is not phase:
        federation.deliver(said)
        said = federation.close()
    federation.session.close()
    assert federation.session.state.phase is EnclavePhase.ABORTED
    assert not federation.opened


def test_the_moves_off_the_path_to_a_release_are_taken_too(play, monkeypatch):
    """A complaint that keeps the phase, one that ends it, a repeated request, a release without unmasking."""
    federation = play(6)
    roster = federation.until("roster")
    with monkeypatch.context() as patched:
        bad = lambda *_: bytes(1168)
        turn(federation, roster, 5, lambda: patched.setattr(share_step, "seal_pair", bad))
    federation.deliver(federation.close())
    assert federation.session.state.phase is EnclavePhase.ABORTED
    assert NodePhase.WITHDRAWN in {agent.state.phase for agent in federation.agents}
    federation.prepare()
    said = federation.open(again=True)
    for _ in range(4):
        federation.deliver(said)
        said = federation.close()
    federation.deliver(said, others(federation, 1))
    federation.deliver(said, [0])
    assert federation.agents[0].state.phase is NodePhase.OPENED
    assert finish(federation, federation.close()) == "Released"
    assert federation.agents[1].state.phase is NodePhase.FINISHED


def pairs_of(source: str) -> set[tuple[str, str]]:
    """(state, message) of every `case` of a dispatcher's match, alternatives written out."""
    found = set()
    for states, message in re.findall(r"case ((?:\w+\(\)(?: \| )?)+|_), (\w+)\(\):", source):
        for state in re.findall(r"\w+", states):
            found.add((state, message))
    return found


def test_the_dispatchers_take_exactly_the_pairs_of_the_table():
    """Neither a pair that no step takes, nor a step that no pair reaches."""
    for role, source, states, start in (
        (Role.ENCLAVE, inspect.getsource(dispatch._step), enclave_states.State, "Advertising"),
        (Role.NODE, inspect.getsource(Agent._step), node_states.State, "Ready"),
    ):
        phases = {state.__name__: state.phase for state in states.__args__}
        assert start in phases
        assert set(phases.values()) == set(type(phases[start]))
        taken = set()
        for state, message in pairs_of(source):
            named = [phases[state]] if state != "_" else ABORTS
            taken |= {(phase, message) for phase in named}
        table = {
            (move.before, move.trigger.__name__)
            for move in MOVES
            if move.role is role and move.trigger is not Deadline
        }
        assert taken == table


def test_no_pair_stands_twice_and_every_phase_is_drawn():
    keys = [(move.role, move.before, move.trigger) for move in MOVES]
    assert len(set(keys)) == len(keys)
    for role, phases in ((Role.ENCLAVE, EnclavePhase), (Role.NODE, NodePhase)):
        drawn = diagram(role)
        assert all(phase.value in drawn for phase in phases)
    reached = {after for move in MOVES for after in move.after}
    assert {*EnclavePhase, *NodePhase} - reached == {NodePhase.READY}
