"""Attacks 6 and 10: two inputs under one mask, and inputs that come late or twice."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from tests.adversary import (
    as_node,
    faults_of,
    finish,
    force_attempt,
    nothing_opened,
    others,
    refused_by,
    send,
)
from tests.playground import lanes, parse

from crimson_enclave.state import Confirming
from crimson_protocol.refusal import Refusal


def second_input(federation, node: int, first: bytes) -> tuple[bytes, bytes]:
    """Another vector of the same node under the same masks, as only the node itself could sign it."""
    payload = bytes([first[0] ^ 1]) + first[1:]
    header = replace(parse(federation.replies[node].control), digest=hashlib.sha256(payload).digest())
    return as_node(federation, node, header), payload


@pytest.fixture
def submitted(play):
    federation = play(6)
    federation.replies = federation.deliver(federation.until("shared"))
    return federation


def test_a_second_different_input_rejects_its_node_and_the_result_is_exact(submitted):
    federation = submitted
    control, payload = second_input(federation, 3, federation.spool.vectors[3])
    faults = send(federation, control, payload)
    assert [(fault.culprit, fault.code) for fault in faults] == [("site-3", Refusal.SECOND_INPUT)]
    said = federation.close()
    verdict = parse(said[1][1])
    assert (verdict.rejected, verdict.accepted, verdict.dropped) == ((3,), (0, 1, 2, 4, 5), ())
    assert finish(federation, said) == "Released"
    # Its first vector was in the sum and was subtracted again, with its masks.
    assert np.array_equal(lanes(federation), federation.plain_sum(others(federation, 3)))


def test_a_second_input_of_another_node_is_that_nodes_alone(submitted):
    federation = submitted
    control, payload = second_input(federation, 3, federation.spool.vectors[3])
    stolen = as_node(federation, 4, replace(parse(control), node=3))
    assert [(fault.culprit, fault.code) for fault in send(federation, stolen, payload)] == [
        ("site-4", Refusal.WRONG_CONTEXT)
    ]
    assert not federation.session.state.equivocated
    assert finish(federation, federation.close()) == "Released"
    assert federation.opened[-1][1] == tuple(range(6))


def test_the_same_input_twice_counts_once(submitted):
    federation = submitted
    for node, reply in federation.replies.items():
        assert federation.upload(node, reply) == ()
    assert finish(federation, federation.close()) == "Released"
    assert np.array_equal(lanes(federation), federation.plain_sum(range(6)))


@pytest.mark.parametrize("phase", ["Confirming", "Unmasking", "Released"])
def test_a_late_input_is_refused_in_every_later_phase(play, phase):
    federation = play(6)
    said = federation.until("shared")
    federation.deliver(said, others(federation, 2))
    late = federation.deliver(said, [2], upload=False)[2]
    alive = others(federation, 2)
    said = federation.close()
    while federation.session.state.phase.value != phase:
        federation.deliver(said, alive)
        said = federation.close()
    state = federation.session.state
    faults = send(federation, late.control, bytes(late.payload))
    assert [(fault.culprit, fault.code) for fault in faults] == [("site-2", Refusal.WRONG_PHASE)]
    assert federation.session.state is state
    assert finish(federation, said, alive) == "Released"
    assert np.array_equal(lanes(federation), federation.plain_sum(alive))


def test_a_late_input_of_a_node_that_did_not_share_is_refused(play):
    federation = play(6)
    federation.deliver(federation.until("roster"), others(federation, 2))
    said = federation.close()
    replies = federation.deliver(said, others(federation, 2))
    forged = as_node(federation, 2, replace(parse(replies[0].control), node=2))
    faults = send(federation, forged, bytes(replies[0].payload))
    assert [(fault.culprit, fault.code) for fault in faults] == [("site-2", Refusal.WRONG_PHASE)]
    assert finish(federation, federation.close(), others(federation, 2)) == "Released"


def test_an_input_frozen_after_the_freeze_is_no_part_of_the_verdict(submitted):
    """Freeze is signed before any share is asked for; a second Freeze finds nobody who waits for one."""
    federation = submitted
    said = federation.close()
    assert isinstance(federation.session.state, Confirming)
    federation.deliver(said[:1])
    again = federation.alter(said[:1], submissions=parse(said[0][1]).submissions[:5])
    refused_by(federation, again, Refusal.WRONG_PHASE)
    assert finish(federation, said[1:]) == "Released"


def test_the_outbox_holds_what_was_sent_and_a_restarted_node_sends_nothing_else(submitted):
    """Killed after sending: its masks' secrets are gone, so no other bytes can ever be made under them."""
    federation = submitted
    for node, reply in federation.replies.items():
        outbox = federation.home / f"node-{node}" / "outbox" / "vector"
        assert outbox.read_bytes() == bytes(reply.payload)
    federation.agents[1] = restarted = federation.agent(1)
    assert restarted.state.phase.value == "Withdrawn"
    assert not hasattr(restarted.state, "secrets")
    assert finish(federation, federation.close(), others(federation, 1)) == "Released"
    assert 1 in federation.opened[-1][1]
    assert np.array_equal(lanes(federation), federation.plain_sum(range(6)))


def test_a_restarted_node_takes_the_same_attempt_never_again(submitted):
    federation = submitted
    federation.agents = [federation.agent(node) for node in range(6)]
    offer = force_attempt(federation, (1, 1))
    federation.prepare()
    refused_by(federation, offer, Refusal.ROUND_WENT_BACK)
    nothing_opened(federation)


def test_a_new_attempt_has_new_secrets_and_other_bytes(submitted):
    federation = submitted
    first = {node: bytes(reply.payload) for node, reply in federation.replies.items()}
    offer = force_attempt(federation, (1, 2))
    federation.prepare()
    for _ in range(2):
        federation.deliver(offer)
        offer = federation.close()
    second = {node: bytes(reply.payload) for node, reply in federation.deliver(offer).items()}
    for node in range(6):
        assert first[node] != second[node]
        same = sum(left == right for left, right in zip(first[node], second[node], strict=True))
        assert same < len(first[node]) / 4


def test_an_agent_that_submitted_holds_no_secret_of_its_masks(submitted):
    for agent in submitted.agents:
        assert not hasattr(agent.state, "secrets")
        assert set(agent.state.held) == set(range(6))
    assert not faults_of(submitted)
