"""A broken enclave signs what it likes and opens every box. With its corrupt nodes it still opens no single vector."""

import pytest
from tests.adversary import (
    Loot,
    claim_dropped,
    confirmation,
    force_attempt,
    lost_before_confirm,
    nothing_opened,
    others,
    refused_by,
    request,
    send,
    verdict,
)
from tests.playground import MODEL, parse

from crimson_node.seen import Seen
from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal


def ask_everybody(federation, loot, message, confirmations) -> int:
    """Send one request to every node and open whatever comes back."""
    replies = federation.deliver(request(federation, message, confirmations), upload=False)
    return loot.open_boxes(replies, message)


def confirmations_of(replies) -> list[bytes]:
    return [reply.control for reply in replies.values()]


def test_three_of_four_claimed_dropped(play):
    federation = play(4)
    said = federation.until("frozen")
    loot = Loot.of(federation)
    forged = claim_dropped(federation, [1, 2, 3], said)
    federation.deliver(forged[:1])
    # The three whose vectors are hidden cannot know; all four know how few are accepted.
    refused_by(federation, forged[1:], Refusal.COHORT_TOO_SMALL)
    message = parse(forged[1][1])
    corrupt = [confirmation(federation, node, message) for node in (2, 3)]
    assert ask_everybody(federation, loot, message, corrupt) == 0
    nothing_opened(federation)
    assert all(agent.state.phase.value == "Withdrawn" for agent in federation.agents)


@pytest.mark.parametrize("gone", [[0], [0, 1], [0, 1, 2]])
def test_claimed_dropouts_open_no_secret_of_those_who_submitted(play, gone):
    """Within the floor a claim is believed; then R of the hidden is opened, and b of nobody hidden."""
    federation = play(7)
    said = federation.until("frozen")
    loot = Loot.of(federation)
    forged = claim_dropped(federation, gone, said)
    message = parse(forged[1][1])
    replies = federation.deliver(forged, upload=False)
    assert ask_everybody(federation, loot, message, confirmations_of(replies)) == 7
    assert loot.rebuilt() == {(node, "root") for node in gone} | {
        (node, "self") for node in others(federation, *gone)
    }
    assert not loot.naked()
    assert not any((node, "self") in loot.shares for node in gone)


def three_verdicts(federation, said):
    """Three groups of nodes, each shown another survivor set, and what each group confirmed."""
    groups = ([0, 1], [2, 3], [4, 5, 6])
    verdicts, confirmed = [], []
    for victim, group in enumerate(groups):
        forged = verdict(federation, others(federation, victim), said)
        verdicts.append(parse(forged[1][1]))
        confirmed.append(confirmations_of(federation.deliver(forged, group, upload=False)))
    return groups, verdicts, confirmed


def test_three_survivor_sets_for_three_groups_open_nothing(play):
    federation = play(7)
    said = federation.until("frozen")
    loot = Loot.of(federation)
    groups, verdicts, confirmed = three_verdicts(federation, said)
    assert [len(found) for found in confirmed] == [2, 2, 3]
    for group, message, found in zip(groups, verdicts, confirmed, strict=True):
        # Node 6 is corrupt: it confirms whatever it is asked to. Repeating a confirmation adds nobody.
        corrupt = confirmation(federation, 6, message)
        refused_by(
            federation,
            request(federation, message, [*found, corrupt, *found]),
            Refusal.TOO_FEW_CONFIRMATIONS,
            [node for node in group if node != 6],
        )
    loot.corrupt(6)
    assert all(len(shares) < loot.threshold for shares in loot.shares.values())
    assert not loot.rebuilt()
    nothing_opened(federation)


def test_confirmations_of_other_verdicts_do_not_count(play):
    federation = play(7)
    said = federation.until("frozen")
    groups, verdicts, confirmed = three_verdicts(federation, said)
    every = [data for found in confirmed for data in found]
    refused_by(federation, request(federation, verdicts[0], every), Refusal.WRONG_CONTEXT, groups[0])
    nothing_opened(federation)


def test_one_quorum_and_a_second_verdict_for_the_rest(play):
    """Five confirm that site 0 stays, two (one corrupt) that it was rejected. Only b of site 0 opens."""
    federation = play(7)
    said = federation.until("frozen")
    loot = Loot.of(federation)
    stays = verdict(federation, range(7), said)
    leaves = verdict(federation, range(1, 7), said)
    first, second = parse(stays[1][1]), parse(leaves[1][1])
    signed = confirmations_of(federation.deliver(stays, [0, 1, 2, 3], upload=False))
    signed_second = confirmations_of(federation.deliver(leaves, [4, 5], upload=False))
    loot.corrupt(6)
    signed.append(confirmation(federation, 6, first))
    signed_second.append(confirmation(federation, 6, second))
    assert ask_everybody(federation, loot, first, signed) == 4
    assert ask_everybody(federation, loot, second, signed_second) == 0
    assert (0, "self") in loot.rebuilt()
    assert len(loot.shares[0, "root"]) == 1
    assert not loot.naked()


def test_both_share_kinds_of_one_owner_asked_in_turn(play):
    federation = play(7)
    said = federation.until("frozen")
    loot = Loot.of(federation)
    stays, leaves = verdict(federation, range(7), said), verdict(federation, range(1, 7), said)
    first, second = parse(stays[1][1]), parse(leaves[1][1])
    signed = confirmations_of(federation.deliver(stays, upload=False))
    # A second verdict finds nobody who waits for one.
    refused_by(federation, leaves[1:], Refusal.WRONG_PHASE)
    assert ask_everybody(federation, loot, first, signed) == 7
    forged = [confirmation(federation, node, second) for node in range(7)]
    refused_by(federation, request(federation, second, forged), Refusal.SECOND_REQUEST)
    assert not loot.naked()
    assert not any(kind == "root" for _, kind in loot.shares)
    nothing_opened(federation)


def test_no_attempt_follows_a_confirmed_one(play):
    federation = play(7)
    federation.deliver(federation.until("frozen"))
    with pytest.raises(CallerFault) as caught:
        federation.session.open(MODEL, again=True)
    assert caught.value.code is Refusal.AFTER_CONFIRM
    assert federation.session.state.phase.value == "Confirming"


def test_a_retry_after_confirm_finds_no_node_that_confirmed(play):
    federation = play(7)
    federation.deliver(federation.until("frozen"))
    offer = force_attempt(federation, (1, 2))
    federation.prepare()
    refused_by(federation, offer, Refusal.AFTER_CONFIRM)
    nothing_opened(federation)


def test_two_attempts_of_a_round_never_both_reach_a_quorum(play):
    """One node confirms in attempt 1, the others are led into attempt 2: only attempt 2 opens, and only sums."""
    federation = play(7)
    said = federation.until("frozen")
    first, message = Loot.of(federation), parse(said[1][1])
    signed = confirmations_of(federation.deliver(said, [0, 1], upload=False))
    first.corrupt(6)
    lost_before_confirm(federation)
    # It forgets which cohort it has shown.
    federation.session.bound.clear()
    offer = force_attempt(federation, (1, 2))
    waiting = {node: federation.agents[node].state for node in (0, 1)}
    federation.prepare()
    refused_by(federation, offer, Refusal.AFTER_CONFIRM, [0, 1])
    for _ in range(3):
        federation.deliver(offer, range(2, 7))
        offer = federation.close()
    second, later = Loot.of(federation), parse(offer[1][1])
    replies = federation.deliver(offer, range(2, 7), upload=False)
    assert ask_everybody(federation, second, later, confirmations_of(replies)) == 5
    # Those who confirmed attempt 1 still wait there, for a quorum that those who left never complete.
    for node, state in waiting.items():
        federation.agents[node].state = state
    signed.append(confirmation(federation, 6, message))
    refused_by(federation, request(federation, message, signed), Refusal.TOO_FEW_CONFIRMATIONS, [0, 1])
    assert not first.rebuilt()
    assert not second.naked()
    assert {kind for _, kind in second.rebuilt()} == {"self"}


def test_a_second_confirm_in_another_attempt_is_refused_by_the_step_itself(play):
    """Even if an offer slipped through, the journal holds the round's one signature."""
    federation = play(4)
    said = federation.until("frozen")
    federation.deliver(said[:1])
    for agent in federation.agents:
        agent._journal.seen = Seen(confirmed={MODEL: 1})
    refused_by(federation, said[1:], Refusal.SECOND_VERDICT)
    nothing_opened(federation)


def test_a_restart_between_confirm_and_the_next_attempt_changes_nothing(play):
    federation = play(4)
    federation.deliver(federation.until("frozen"))
    federation.agents = [federation.agent(node) for node in range(4)]
    offer = force_attempt(federation, (1, 2))
    federation.prepare()
    refused_by(federation, offer, Refusal.AFTER_CONFIRM)


def test_the_sum_of_too_few_confirmations_is_never_asked_for(play):
    """The honest enclave gives up; what it then says is an abort, and the round is lost for good."""
    federation = play(7)
    said = federation.until("frozen")
    federation.deliver(said, [0, 1, 2, 3])
    aborted = federation.close()
    state = federation.session.state
    assert (state.code, state.again) == (Refusal.TOO_FEW_CONFIRMATIONS, False)
    federation.deliver(aborted)
    assert all(agent.state.phase.value == "Withdrawn" for agent in federation.agents)
    faults = send(federation, confirmation(federation, 5, parse(said[1][1])))
    assert [(fault.culprit, fault.code) for fault in faults] == [("site-5", Refusal.WRONG_PHASE)]
    nothing_opened(federation)
