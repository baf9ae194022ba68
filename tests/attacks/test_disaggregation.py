"""Two sums over S and S without one site differ by that site: after a confirmed verdict the cohort stays as it is."""

from dataclasses import replace

import numpy as np
import pytest
from tests.adversary import believe, finish, nothing_opened, others, refused_by, turn, verdict
from tests.attacks.test_bad_dealers import SELF, deals, other_secret
from tests.playground import (
    MODEL,
    NOW,
    Parties,
    Play,
    default_numbers,
    initial,
    lanes,
    make_parties,
    sign_policy,
)

import crimson_node.rounds.share as share_step
from crimson_enclave.bindings import Bound
from crimson_enclave.state import Aborted
from crimson_protocol.artifact import Artifact
from crimson_protocol.policy.document import ReopenOrder
from crimson_protocol.refusal import Refusal
from crimson_protocol.transcript import model_digest


def lose_after_confirm(federation: Play) -> None:
    """Everybody confirms; then too few shares come back."""
    federation.deliver(federation.until("request"), [0])
    federation.deliver(federation.close())
    assert federation.session.state.code is Refusal.TOO_FEW_SHARES
    assert not federation.session.state.again
    nothing_opened(federation)


def until_verdict(federation: Play):
    """The next round, up to an undelivered Freeze and Verdict. The enclave may have forgotten the last one."""
    said = federation.until("frozen")
    federation.deliver(said[:1])
    return said


def stop_without(federation: Play, node: int) -> None:
    """A round without a node of the cohort: an honest enclave shows no verdict that bound nodes must refuse."""
    federation.prepare()
    said = federation.open(again=getattr(federation.session.state, "again", False))
    for _ in range(3):
        federation.refused.clear()
        federation.deliver(said, others(federation, node))
        said = federation.close()
    state = federation.session.state
    assert isinstance(state, Aborted) and (state.code, state.again) == (Refusal.SURVIVORS_CHANGED, True)
    assert not federation.refused
    federation.deliver(said, others(federation, node))


def test_the_same_survivors_are_confirmed_and_released(play):
    federation = play(7)
    lose_after_confirm(federation)
    federation.prepare()
    assert finish(federation, federation.open()) == "Released"
    _, accepted = federation.opened[-1]
    assert accepted == tuple(range(7))
    assert np.array_equal(lanes(federation), federation.plain_sum(accepted))
    # The model moved on, and with it the cohort is free again.
    assert federation.round(after_share=[3])
    assert federation.opened[-1][1] == tuple(others(federation, 3))


@pytest.mark.parametrize("left_out", [[0], [0, 1], [5, 6]])
def test_other_survivors_are_refused(play, left_out):
    federation = play(7)
    lose_after_confirm(federation)
    said = until_verdict(federation)
    forged = verdict(federation, others(federation, *left_out), said)
    refused_by(federation, forged[1:], Refusal.SURVIVORS_CHANGED)
    nothing_opened(federation)


def test_an_honest_enclave_stops_when_a_survivor_is_missing(play):
    federation = play(7)
    lose_after_confirm(federation)
    stop_without(federation, 6)
    nothing_opened(federation)
    # No verdict was shown, so another attempt follows; with everybody back it is released.
    federation.prepare()
    assert finish(federation, federation.open(again=True)) == "Released"
    assert federation.opened[-1][1] == tuple(range(7))


def test_a_confirmation_of_some_never_moves_the_cohort(play):
    """Three of six confirm and the round is lost; a round without one of them must not bind the rest otherwise."""
    federation = play(6)
    frozen = federation.until("frozen")
    federation.deliver(frozen, [0, 1, 2])
    federation.close()
    assert isinstance(federation.session.state, Aborted)
    stop_without(federation, 1)
    assert federation.session.bound[MODEL].cohort == frozenset(range(6))
    federation.prepare()
    assert finish(federation, federation.open(again=True)) == "Released"


def test_one_corrupt_node_cannot_confirm_the_others_into_a_corner(play):
    federation = play(6)
    lose_after_confirm(federation)
    for _ in range(2):
        stop_without(federation, 4)
    federation.prepare()
    assert finish(federation, federation.open(again=True)) == "Released"
    assert federation.opened[-1][1] == tuple(range(6))


def test_a_round_on_another_model_in_between_is_no_way_round(play):
    """First digest, second digest, first digest again: the first verdict still holds the cohort."""
    federation = play(7)
    lose_after_confirm(federation)
    first = federation.session.artifacts[MODEL]
    other = Artifact.of(np.ones(federation.numbers.parameters, np.float32)).to_bytes()
    federation.session.artifacts[MODEL] = other
    believe(federation, model_digest(other))
    said = until_verdict(federation)
    federation.deliver(verdict(federation, others(federation, 3), said)[1:])
    assert {agent.state.phase.value for agent in federation.agents} == {"Confirmed"}
    federation.session.artifacts[MODEL] = first
    believe(federation, model_digest(first))
    said = until_verdict(federation)
    refused_by(federation, verdict(federation, others(federation, 3), said)[1:], Refusal.SURVIVORS_CHANGED)


def test_a_restarted_node_remembers_the_cohort(play):
    federation = play(7)
    lose_after_confirm(federation)
    federation.agents = [federation.agent(node) for node in range(7)]
    said = until_verdict(federation)
    refused_by(federation, verdict(federation, others(federation, 3), said)[1:], Refusal.SURVIVORS_CHANGED)


def lose_by_bad_dealer(federation: Play, monkeypatch, dealer: int) -> None:
    """A round that ends with a proof against `dealer`."""
    roster = federation.until("roster")
    with monkeypatch.context() as patched:
        wrong = deals(SELF, other_secret)
        turn(federation, roster, dealer, lambda: patched.setattr(share_step, "split", wrong))
    said = federation.close()
    for _ in range(4):
        federation.deliver(said)
        said = federation.close()
    assert federation.session.state.culprits == (f"site-{dealer}",)


def test_a_conviction_stays_until_everybody_confirmed_without_the_convicted(play, monkeypatch):
    """Some confirm the smaller cohort and the round is lost: those that did not still need the proof."""
    federation = play(7)
    lose_by_bad_dealer(federation, monkeypatch, 6)
    before = federation.session.bound[MODEL]
    federation.deliver(federation.until("frozen"), [0, 1])
    federation.close()
    assert isinstance(federation.session.state, Aborted)
    assert federation.session.bound[MODEL] == before and before.proofs
    federation.prepare()
    assert finish(federation, federation.open()) == "Released"
    assert federation.opened[-1][1] == tuple(range(6))


def test_fewer_by_conviction_are_confirmed_once(play, monkeypatch):
    federation = play(7)
    lose_by_bad_dealer(federation, monkeypatch, 6)
    first = federation.session.bound[MODEL]
    assert first.convicted == {6}
    # The smaller cohort is confirmed with the proof attached, and lost again, by another bad dealer.
    lose_by_bad_dealer(federation, monkeypatch, 5)
    assert all(agent._journal.seen.bound for agent in federation.agents)
    # A second conviction would shrink it again: refused, with as good a proof.
    said = until_verdict(federation)
    refused_by(federation, said[1:], Refusal.SURVIVORS_CHANGED, others(federation, 5, 6))
    nothing_opened(federation)
    # With the cohort as the one conviction left it, the model goes on.
    earlier = federation.session.bound[MODEL]
    federation.session.bound[MODEL] = replace(earlier, convicted=frozenset({6}))
    federation.prepare()
    assert finish(federation, federation.open()) == "Released"
    assert federation.opened[-1][1] == tuple(others(federation, 6))
    assert np.array_equal(lanes(federation), federation.plain_sum(others(federation, 6)))


def test_a_conviction_removes_the_convicted_and_nobody_else(play, monkeypatch):
    federation = play(7)
    lose_by_bad_dealer(federation, monkeypatch, 6)
    proofs = federation.session.bound[MODEL].proofs
    federation.session.bound.clear()
    said = until_verdict(federation)
    for node, left_out in enumerate(([5], [5, 6])):
        chosen = verdict(federation, others(federation, *left_out), said, convictions=proofs)
        refused_by(federation, chosen[1:], Refusal.SURVIVORS_CHANGED, [node])
    federation.deliver(verdict(federation, others(federation, 6), said, convictions=proofs)[1:], [2])
    assert federation.agents[2].state.phase.value == "Confirmed"


@pytest.mark.parametrize("proof", [b"", b"\x80", bytes(500)])
def test_a_forged_proof_is_the_enclaves_fault(play, proof):
    federation = play(7)
    lose_after_confirm(federation)
    said = until_verdict(federation)
    forged = verdict(federation, others(federation, 6), said, convictions=(proof,))
    refused_by(federation, forged[1:], Refusal.MALFORMED)


def reopening(**changes: object) -> Parties:
    """Parties whose policy frees the second round from the verdict of the first."""
    parties = make_parties(7)
    base = model_digest(initial(parties.policy.models[0].numbers))
    order = replace(ReopenOrder(MODEL, 2, base), **changes)
    policy = replace(parties.policy, reopens=(order,))
    return replace(parties, policy=policy, signed=sign_policy(parties.governor, policy))


def test_a_policy_that_reopens_the_round_lets_the_cohort_change(play):
    federation = play(7, parties=reopening())
    lose_after_confirm(federation)
    federation.session.bound.clear()
    said = until_verdict(federation)
    federation.deliver(verdict(federation, others(federation, 3), said)[1:])
    assert {agent.state.phase.value for agent in federation.agents} == {"Confirmed"}


@pytest.mark.parametrize(
    "changes",
    [{"round": 1}, {"round": 3}, {"model": "other"}, {"model_digest": bytes(32)}],
    ids=["earlier round", "later round", "other model", "other digest"],
)
def test_a_reopen_order_for_something_else_changes_nothing(play, changes):
    federation = play(7, parties=reopening(**changes))
    lose_after_confirm(federation)
    said = until_verdict(federation)
    refused_by(federation, verdict(federation, others(federation, 3), said)[1:], Refusal.SURVIVORS_CHANGED)


def test_an_enclave_that_forgot_the_verdict_does_not_make_nodes_forget(play):
    """A restarted enclave composes any cohort; nodes are the ones who remember."""
    federation = play(7)
    lose_after_confirm(federation)
    assert isinstance(federation.session.bound.pop(MODEL), Bound)
    federation.now = NOW + 60
    federation.prepare()
    said = federation.open()
    for _ in range(3):
        federation.deliver(said, others(federation, 0))
        said = federation.close()
    federation.deliver(said[:1], others(federation, 0))
    refused_by(federation, said[1:], Refusal.SURVIVORS_CHANGED, others(federation, 0))
    nothing_opened(federation)


def test_a_released_statistic_is_not_repeated_with_one_site_less(play):
    """Exact counters over S, then over S without a site, would give that site's counters away."""
    rules = {"strategy": "sum"}
    numbers = default_numbers(7, parameters=0)
    federation = play(7, parties=make_parties(7, numbers, **rules))
    assert federation.round()
    stop_without(federation, 1)
    # An enclave that forgets the cohort is refused by every node that remembers.
    federation.session.bound.clear()
    federation.prepare()
    said = federation.open(again=True)
    for _ in range(3):
        federation.deliver(said, others(federation, 1))
        said = federation.close()
    federation.deliver(said[:1], others(federation, 1))
    refused_by(federation, said[1:], Refusal.SURVIVORS_CHANGED, others(federation, 1))
    assert len(federation.opened) == 1
    federation.close()
    federation.session.bound.clear()
    # With the same sites it may be repeated: the same exact sum tells nothing new.
    assert federation.round()
    assert federation.opened[0][0].counters() == federation.opened[1][0].counters()


def test_a_withheld_confirmation_binds_the_next_round_to_the_same_cohort(play):
    """The relay loses every Confirm: nodes are bound, and the enclave keeps to the cohort they will confirm."""
    federation = play(7)
    federation.deliver(federation.until("frozen"), upload=False)
    federation.close()
    assert isinstance(federation.session.state, Aborted)
    federation.prepare()
    assert finish(federation, federation.open()) == "Released"
    assert federation.opened[-1][1] == tuple(range(7))


def test_the_enclave_follows_a_policy_that_reopens_the_round(play):
    federation = play(7, parties=reopening())
    lose_after_confirm(federation)
    federation.prepare()
    offer = [(None, federation.session.open(MODEL))]
    assert finish(federation, offer, others(federation, 3)) == "Released"
    assert federation.opened[-1][1] == tuple(others(federation, 3))
