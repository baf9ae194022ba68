"""Round 4, confirm: what a node refuses of freeze and verdict (7, 9.1 to 9.6), and the enclave of confirmations."""

from dataclasses import replace

import numpy as np
import pytest
from tests.adversary import as_node, finish, nothing_opened, others, refused_by, send, verdict
from tests.playground import default_numbers, lanes, parse

from crimson_node.journal import Journal
from crimson_node.seen import VerdictConfirmed
from crimson_protocol.cohort import Numbers
from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.survivors import acceptable, judge
from crimson_protocol.transcript import t2
from crimson_protocol.wire.messages.confirm import Confirm, Submission


@pytest.fixture
def frozen(play):
    """Freeze and Verdict are out; sites 0 to 4 submitted, site 5 shared and vanished."""
    federation = play(6)
    federation.deliver(federation.until("shared"), range(5))
    federation.said = federation.close()
    return federation


def test_a_freeze_of_another_t1_changes_nothing(frozen):
    refused_by(frozen, frozen.alter(frozen.said[:1], t1=bytes(32)), Refusal.WRONG_CONTEXT, range(5))
    assert finish(frozen, frozen.said, range(5)) == "Released"
    assert np.array_equal(lanes(frozen), frozen.plain_sum(range(5)))


def test_a_frozen_vector_of_a_node_that_did_not_share_is_refused(play):
    federation = play(6)
    federation.deliver(federation.until("roster"), range(5))
    federation.deliver(federation.close(), range(5))
    said = federation.close()
    more = (*parse(said[0][1]).submissions, Submission(5, bytes(32)))
    refused_by(
        federation, federation.alter(said[:1], submissions=more), Refusal.SETS_DO_NOT_PARTITION, range(5)
    )
    nothing_opened(federation)


def test_another_digest_in_the_nodes_name_is_refused_by_that_node(frozen):
    submissions = tuple(
        replace(item, digest=bytes(32)) if item.node == 1 else item
        for item in parse(frozen.said[0][1]).submissions
    )
    refused_by(frozen, frozen.alter(frozen.said[:1], submissions=submissions), Refusal.DIGEST_DIFFERS, [1])
    nothing_opened(frozen)


SETS = {
    "a node in two sets": {"accepted": (0, 1, 2, 3, 4), "rejected": (4,)},
    "accepted and dropped": {"dropped": (4, 5)},
    "a frozen node in no set": {"accepted": (0, 1, 2, 3)},
    "a frozen node dropped": {"accepted": (0, 1, 2, 3), "dropped": (4, 5)},
    "a dropped node in no set": {"dropped": ()},
    "a node without a vector accepted": {"accepted": (0, 1, 2, 3, 4, 5), "dropped": ()},
    "a node without a vector rejected": {"rejected": (5,), "dropped": ()},
    "a stranger dropped": {"dropped": (5, 6)},
    "a stranger rejected": {"rejected": (6,)},
    "nobody": {"accepted": (), "dropped": (), "rejected": ()},
}


@pytest.mark.parametrize("why", SETS)
def test_sets_that_do_not_partition_are_refused(frozen, why):
    frozen.deliver(frozen.said[:1], range(5))
    refused_by(frozen, frozen.alter(frozen.said[1:], **SETS[why]), Refusal.SETS_DO_NOT_PARTITION, range(5))
    assert all(frozen.agents[node].state.phase.value == "Withdrawn" for node in range(5))
    frozen.deliver(frozen.close())
    assert frozen.session.state.code is Refusal.TOO_FEW_CONFIRMATIONS
    nothing_opened(frozen)


def test_a_verdict_about_another_t2_changes_nothing(frozen):
    frozen.deliver(frozen.said[:1], range(5))
    refused_by(frozen, frozen.alter(frozen.said[1:], t2=bytes(32)), Refusal.WRONG_CONTEXT, range(5))
    assert finish(frozen, frozen.said[1:], range(5)) == "Released"


@pytest.mark.parametrize("accepted", [range(3), range(1), []])
def test_too_few_accepted_are_refused(frozen, accepted):
    frozen.deliver(frozen.said[:1], range(5))
    forged = verdict(frozen, accepted, frozen.said)
    refused_by(frozen, forged[1:], Refusal.COHORT_TOO_SMALL, range(5))
    nothing_opened(frozen)


@pytest.mark.parametrize("closed", [(0,), (1,), (0, 1)])
def test_a_wrong_list_of_closed_buckets_is_refused(frozen, closed):
    frozen.deliver(frozen.said[:1], range(5))
    refused_by(frozen, frozen.alter(frozen.said[1:], closed=closed), Refusal.BUCKET_TOO_SMALL, range(5))


@pytest.fixture
def bucketed(play):
    """Two buckets of 6, of which each needs 4 accepted nodes."""
    numbers = default_numbers(12, bucket_size=6, corrupt=(1, 6))
    federation = play(12, numbers=numbers)
    federation.said = federation.until("frozen")
    federation.deliver(federation.said[:1])
    federation.buckets = federation.session.state.judged.agreement.graph.buckets
    return federation


def test_an_open_bucket_below_its_floor_is_refused(bucketed):
    first, second = bucketed.buckets
    forged = verdict(bucketed, [*first, *second[:3]], bucketed.said)
    refused_by(bucketed, forged[1:], Refusal.BUCKET_TOO_SMALL)
    nothing_opened(bucketed)


@pytest.mark.parametrize("place", [0, 1])
def test_a_closed_bucket_with_accepted_nodes_is_refused(bucketed, place):
    refused_by(bucketed, bucketed.alter(bucketed.said[1:], closed=(place,)), Refusal.BUCKET_TOO_SMALL)


def test_an_empty_bucket_that_is_not_listed_as_closed_is_refused(bucketed):
    """With c = 1 a bucket of six is cohort enough; the other one must then be said to be closed."""
    first, _ = bucketed.buckets
    agreement = bucketed.session.state.judged.agreement
    assert agreement.smallest_cohort() == 5
    refused_by(bucketed, verdict(bucketed, first, bucketed.said)[1:], Refusal.BUCKET_TOO_SMALL)


def test_a_bucket_below_its_floor_is_closed_and_the_rest_is_released(play):
    numbers = default_numbers(12, bucket_size=6, corrupt=(1, 6))
    federation = play(12, numbers=numbers)
    said = federation.until("shared")
    first, second = federation.session.state.dealt.agreement.graph.buckets
    alive = [*first, *second[:3]]
    federation.deliver(said, alive)
    said = federation.close()
    assert parse(said[1][1]).closed == (1,)
    assert parse(said[1][1]).rejected == second[:3]
    assert finish(federation, said, alive) == "Released"
    assert federation.opened[-1][1] == first
    assert np.array_equal(lanes(federation), federation.plain_sum(first))


def test_too_few_accepted_neighbours_on_a_sparse_graph_are_refused(frozen):
    """An agreement made for it: a real sparse graph needs more than 128 nodes."""
    state = frozen.session.state.judged.frozen
    known = state.dealt.agreement
    ring = {node: frozenset({(node + step) % 6 for step in (1, 2, 4, 5)}) for node in range(6)}
    sparse = {6: Numbers(1, 4, 4, 4, 4, 3, dense=False)}
    agreement = replace(known, graph=replace(known.graph, neighbours=ring), bucket_cohorts=sparse)
    made = replace(state, dealt=replace(state.dealt, agreement=agreement))
    honest = parse(frozen.said[1][1])
    assert judge(made, honest).agreement is agreement
    fewer = replace(honest, accepted=(0, 1, 2, 3), rejected=(4,))
    with pytest.raises(PeerFault) as caught:
        judge(made, fewer)
    assert (caught.value.code, caught.value.culprit) == (Refusal.DEGREE_TOO_SMALL, "enclave")
    # What the enclave would compose instead leaves nobody with too few, here nobody at all.
    assert acceptable(agreement, [0, 1, 2, 3]) == frozenset()


def test_a_second_verdict_is_refused(frozen):
    frozen.deliver(frozen.said, range(5), upload=False)
    refused_by(frozen, verdict(frozen, range(4), frozen.said)[1:], Refusal.WRONG_PHASE, range(5))
    refused_by(frozen, frozen.said[1:], Refusal.WRONG_PHASE, range(5))


def test_the_confirmation_is_on_disk_before_it_is_sent(frozen):
    replies = frozen.deliver(frozen.said, range(5), upload=False)
    for node in range(5):
        sent = parse(replies[node].control)
        path = frozen.home / f"node-{node}" / "journal"
        kept = [entry for _, entry in Journal(path).entries() if isinstance(entry, VerdictConfirmed)]
        assert [(entry.round, entry.v) for entry in kept] == [(sent.round, sent.v)]


def test_a_confirmation_that_cannot_be_written_is_not_sent(frozen, monkeypatch):
    frozen.deliver(frozen.said[:1], range(5))
    monkeypatch.setattr("crimson_node.journal.os.write", lambda _, data: len(data) - 1)
    agent = frozen.agents[0]
    with pytest.raises(OSError, match="journal"):
        agent.receive(frozen.said[1][1])
    monkeypatch.undo()
    assert agent.state.phase.value == "Frozen"
    assert not agent._journal.seen.confirmed
    # The disk has room again: the journal is whole, and the same verdict is confirmed.
    reply = agent.receive(frozen.said[1][1])
    assert isinstance(parse(reply.control), Confirm)
    assert Journal(frozen.home / "node-0" / "journal").seen.confirmed == {"model": 1}


def confirmation(play, signer, **changes):
    offer = play.session.state.judged.agreement.terms.offer
    known = Confirm(offer.federation, offer.model, offer.round, signer, play.session.state.judged.v)
    return as_node(play, signer, replace(known, **changes))


@pytest.mark.parametrize(
    "changes", [{"v": bytes(32)}, {"round": 2}, {"model": "other"}, {"federation": "other"}, {"node": 4}]
)
def test_a_confirmation_of_something_else_is_refused_and_its_node_named(frozen, changes):
    state = frozen.session.state
    faults = send(frozen, confirmation(frozen, 3, **changes))
    assert [(fault.culprit, fault.code) for fault in faults] == [("site-3", Refusal.WRONG_CONTEXT)]
    assert frozen.session.state is state


def test_a_confirmation_of_a_node_that_did_not_share_is_refused(play):
    federation = play(6)
    federation.deliver(federation.until("roster"), range(5))
    federation.deliver(federation.close(), range(5))
    said = federation.close()
    faults = send(federation, confirmation(federation, 5))
    assert [(fault.culprit, fault.code) for fault in faults] == [("site-5", Refusal.WRONG_PHASE)]
    assert finish(federation, said, range(5)) == "Released"


def test_nobody_confirmed_so_another_attempt_may_follow(frozen):
    frozen.close()
    state = frozen.session.state
    assert (state.code, state.again) == (Refusal.TOO_FEW_CONFIRMATIONS, True)
    frozen.prepare()
    assert finish(frozen, frozen.open(again=True)) == "Released"
    # The relay may have kept confirmations back, so the cohort stays: site 5, new in it, is rejected.
    assert frozen.opened[-1][1] == tuple(range(5))
    assert np.array_equal(lanes(frozen), frozen.plain_sum(range(5)))


def test_somebody_confirmed_so_no_attempt_follows_and_the_cohort_is_remembered(frozen):
    frozen.deliver(frozen.said, [0, 1, 2])
    frozen.deliver(frozen.close())
    state = frozen.session.state
    assert (state.code, state.again) == (Refusal.TOO_FEW_CONFIRMATIONS, False)
    assert frozen.session.bound["model"].accepted == set(range(5))
    nothing_opened(frozen)


def test_hiding_a_vector_that_arrived_is_possible_only_by_dropping_it_for_all(frozen):
    """A freeze without site 1: site 1 counts as dropped, and its R, never its b, is opened."""
    hidden = parse(frozen.said[0][1])
    hidden = replace(hidden, submissions=tuple(item for item in hidden.submissions if item.node != 1))
    honest = parse(frozen.said[1][1])
    forged = replace(honest, t2=t2(hidden.t1, hidden), accepted=(0, 2, 3, 4), dropped=(1, 5))
    said = [(None, frozen.forge(hidden)), (None, frozen.forge(forged))]
    frozen.deliver(said, range(5), upload=False)
    assert all(frozen.agents[node].state.judged.opens(1) == "root" for node in range(5))
    assert others(frozen, 1, 5) == list(frozen.agents[1].state.judged.verdict.accepted)
