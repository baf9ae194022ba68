"""Nodes that sketch another update than they submit, and enclaves that ask for more sketches than they may."""

from dataclasses import replace

import numpy as np
import pytest
from tests.playground import MODEL, Play, parse, sketched_parties

from crimson_node.seen import UpdateSketched
from crimson_protocol.errors import PeerFault, PolicyRefusal
from crimson_protocol.events import MAX_EVENT, Event
from crimson_protocol.exposure import EXPOSURE_LIMIT_MICRO, exposure_micro
from crimson_protocol.layout import Words
from crimson_protocol.policy.document import SketchRules
from crimson_protocol.refusal import Refusal

NODES, LIAR = 6, 2


@pytest.fixture
def federation(play) -> Play:
    return sketched(play)


def sketched(play, **changes: object) -> Play:
    parties = sketched_parties(NODES, **changes)
    return play(NODES, parties=parties, numbers=parties.policy.rules(MODEL).numbers)


def finish(federation: Play, said) -> str:
    for _ in range(8):
        federation.deliver(said)
        if federation.session.state.phase.value in ("Released", "Aborted"):
            break
        said = federation.close()
    return federation.session.state.phase.value


def pretend(federation: Play, change) -> None:
    """The liar's encoding, of which it will be asked for a sketch, is changed after it was submitted."""
    state = federation.agents[LIAR].state
    encoded: Words = state.encoded.copy()
    change(encoded, state.dealt.agreement.terms.layout)
    federation.agents[LIAR].state = replace(state, encoded=encoded)


def one_lane(encoded: Words, layout) -> None:
    layout.read(encoded, 7, 8)[:] += np.uint32(1)


def weight_lane(encoded: Words, layout) -> None:
    count = layout.numbers.parameters
    layout.read(encoded, count, count + 1)[:] -= np.uint32(1)


@pytest.mark.parametrize("lie", [one_lane, weight_lane])
@pytest.mark.parametrize("seed", range(4))
def test_a_liar_loses_the_round_every_time(play, lie, seed):
    """A single quantum in a single lane, or of the weight, is enough, whatever the seed of the sketch."""
    parties = sketched_parties(NODES)
    federation = play(NODES, parties=parties, numbers=parties.policy.rules(MODEL).numbers, seed=seed)
    said = federation.until("shared")
    federation.deliver(said)
    pretend(federation, lie)
    assert finish(federation, federation.close()) == "Aborted"
    state = federation.session.state
    assert (state.code, state.culprits, state.again) == (Refusal.SKETCH_DIFFERS, (), False)
    flags = [event for leaf in federation.session.log.leaves if (event := read(leaf)).kind == "flag"]
    assert {event.culprit for event in flags} == {f"site-{node}" for node in range(NODES)}
    assert {event.code for event in flags} == {"sketch-sum"} and len({event.digest for event in flags}) == 1
    assert federation.session.published == {}


def read(leaf: bytes) -> Event:
    return Event.from_bytes(leaf, MAX_EVENT)


def test_a_lie_that_colluders_carry_is_in_their_own_sketches(federation):
    """What one leaves out another one sketches: the sum holds, and both are judged by what they showed."""
    said = federation.until("shared")
    federation.deliver(said)
    for node, change in ((LIAR, 1), (3, -1)):
        state = federation.agents[node].state
        encoded = state.encoded.copy()
        layout = state.dealt.agreement.terms.layout
        layout.read(encoded, 7, 8)[:] += np.uint32(change % 2**32)
        federation.agents[node].state = replace(state, encoded=encoded)
    assert finish(federation, federation.close()) == "Released"


def freeze_of(federation: Play, **changes: object):
    said = federation.until("frozen")
    return federation.alter(said, **changes) if changes else said


def test_a_third_sketch_of_one_update_is_refused(federation):
    said = freeze_of(federation)
    agent = federation.agents[0]
    offer = agent.state.dealt.agreement.terms.offer
    shown = UpdateSketched(MODEL, offer.round, offer.attempt, offer.model_digest, 1)
    for _ in range(2):
        agent._journal.append(shown, federation.now)
    with pytest.raises(PeerFault) as caught:
        agent.receive(said[0][1])
    assert (caught.value.code, caught.value.culprit) == (Refusal.THIRD_SKETCH, "enclave")


def test_the_second_sketch_of_a_retried_update_is_given(federation):
    said = freeze_of(federation)
    agent = federation.agents[0]
    offer = agent.state.dealt.agreement.terms.offer
    agent._journal.append(UpdateSketched(MODEL, 1, 1, offer.model_digest, 1), federation.now)
    assert agent.receive(said[0][1]) is not None
    assert agent.seen.sketches[MODEL, offer.model_digest] == 2


def test_more_exposure_than_the_limit_is_refused_by_the_node_before_it_takes_part(federation):
    offer = federation.until("offer")
    agent = federation.agents[0]
    each = exposure_micro(federation.policy.rules(MODEL))
    agent._journal.append(
        UpdateSketched(MODEL, 1, 1, bytes(32), EXPOSURE_LIMIT_MICRO - each + 1), federation.now
    )
    with pytest.raises(PeerFault) as caught:
        agent.receive(offer[0][1], federation.consistency(0))
    assert caught.value.code is Refusal.EXPOSURE_EXCEEDED


def test_and_again_when_the_sketch_is_due(federation):
    said = freeze_of(federation)
    agent = federation.agents[0]
    agent._journal.append(UpdateSketched(MODEL, 1, 1, bytes(32), EXPOSURE_LIMIT_MICRO), federation.now)
    with pytest.raises(PeerFault) as caught:
        agent.receive(said[0][1])
    assert caught.value.code is Refusal.EXPOSURE_EXCEEDED


def test_the_enclave_opens_no_round_beyond_the_limit(federation):
    """Eight of 160 lanes a round: a twentieth, so five rounds."""
    for _ in range(5):
        assert federation.round()
    federation.prepare()
    with pytest.raises(PolicyRefusal) as caught:
        federation.open()
    assert caught.value.code is Refusal.EXPOSURE_EXCEEDED
    assert federation.session.places[MODEL] == (5, 1)


def test_exposure_survives_a_restart_of_the_node(federation):
    assert federation.round()
    shown = federation.agents[1].seen.exposure
    assert shown == {MODEL: 50_000} and federation.agent(1).seen.exposure == shown


def test_a_seed_in_a_round_without_sketches_is_refused(play):
    federation = sketched(play, sketch=SketchRules(8, 4, 2))
    assert federation.round()
    said = freeze_of(federation)
    said = federation.alter(said[:1], sketch_seed=bytes(32))
    federation.deliver(said, [0])
    # Another seed is another T2: the node takes the freeze for its own, and sees that no sketch is due.
    assert federation.refused[0].code is Refusal.NUMBERS_DIFFER


def test_a_sketch_is_of_the_frozen_vector_and_of_no_other(federation):
    """Left out of the freeze, a node shows nothing."""
    said = federation.until("frozen")
    message = parse(said[0][1])
    without = tuple(item for item in message.submissions if item.node != 0)
    altered = federation.alter(said, submissions=without)
    agent = federation.agents[0]
    assert agent.receive(altered[0][1]) is None and agent.seen.exposure == {}


def test_no_sketch_without_the_encoding(federation):
    said = federation.until("frozen")
    agent = federation.agents[0]
    agent.state = replace(agent.state, encoded=None)
    assert agent.receive(said[0][1]) is None
