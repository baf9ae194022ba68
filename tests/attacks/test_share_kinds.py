"""Attacks 4 and 9: both share kinds of one owner, and malicious shares. Commitments decide, and name the holder."""

from dataclasses import replace

import numpy as np
import pytest
from tests.adversary import (
    Loot,
    as_node,
    confirmation,
    finish,
    nothing_opened,
    others,
    refused_by,
    request,
    send,
    verdict,
)
from tests.playground import lanes, parse

from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.boxes import seal_opened, unmask_info
from crimson_protocol.wire.messages.unmask import OpenedShares, Unmask


def test_an_owner_in_two_sets_is_refused(play):
    federation = play(6)
    said = federation.until("frozen")
    federation.deliver(said[:1])
    honest = federation.alter(said[1:], rejected=(3,))
    refused_by(federation, honest, Refusal.SETS_DO_NOT_PARTITION)
    nothing_opened(federation)


def test_a_second_request_with_another_partition_is_refused_and_the_first_is_repeated(play):
    federation = play(6)
    said = federation.until("request")
    loot_state = federation.session.state
    first = federation.deliver(said, upload=False)
    other = replace(loot_state.judged.verdict, accepted=(0, 1, 2, 3, 4), rejected=(5,))
    forged = request(federation, other, [confirmation(federation, node, other) for node in range(6)])
    refused_by(federation, forged, Refusal.SECOND_REQUEST)
    again = federation.deliver(said, upload=False)
    assert {node: reply.control for node, reply in again.items()} == {
        node: reply.control for node, reply in first.items()
    }
    for node, reply in first.items():
        federation.upload(node, reply)
    assert finish(federation, federation.close()) == "Released"


def test_a_crash_between_two_requests_opens_nothing_more(play):
    """Restarted after opening: shares are gone with the memory, and the journal lets nothing follow."""
    federation = play(6)
    said = federation.until("request")
    state = federation.session.state
    federation.deliver(said, upload=False)
    federation.agents[2] = federation.agent(2)
    before = federation.agents[2].state
    refused = federation.deliver(said, [2], upload=False)
    assert not refused
    assert (federation.refused[2].code, federation.refused[2].culprit) == (Refusal.WRONG_PHASE, "gateway")
    assert federation.agents[2].state is before
    assert federation.session.state is state


def test_no_holder_ever_opens_both_kinds_or_a_secret_itself(play):
    """What leaves a node are shares alone, one kind per owner, also of its own b."""
    federation = play(6)
    said = federation.until("shared")
    secrets = {node: federation.agents[node].state.secrets for node in range(6)}
    federation.deliver(said, others(federation, 4))
    frozen = federation.close()
    loot, message = Loot.of(federation), parse(frozen[1][1])
    federation.deliver(frozen, others(federation, 4))
    loot.open_boxes(federation.deliver(federation.close(), others(federation, 4)), message)
    kinds = {owner: {kind for found, kind in loot.shares if found == owner} for owner in range(6)}
    assert kinds == {**{node: {"self"} for node in others(federation, 4)}, 4: {"root"}}
    opened = {share for shares in loot.shares.values() for share in shares.values()}
    for node in range(6):
        assert secrets[node].seed.reveal() not in opened
        assert secrets[node].root.reveal() not in opened
    assert not loot.naked()


def altered_unmask(federation, node: int, reply, owners: list[int]) -> bytes:
    """A holder flips a bit in its shares of `owners`."""
    body = parse(reply.control)
    state = federation.session.state
    plain = state.secrets.round_key.open(unmask_info(body.v, node), body.box)
    shares = tuple(
        replace(item, share=bytes([item.share[0] ^ 1]) + item.share[1:]) if item.owner in owners else item
        for item in OpenedShares.from_bytes(plain, 1 << 20).shares
    )
    round_key = state.judged.agreement.terms.offer.round_key
    box = seal_opened(round_key, body.v, node, OpenedShares(shares).to_bytes())
    return as_node(federation, node, Unmask(body.v, node, box))


@pytest.mark.parametrize("owners", [[0], [1, 4], list(range(6))])
def test_bad_shares_are_left_out_their_holder_is_named_and_the_round_completes(play, owners):
    federation = play(6)
    said = federation.until("request")
    federation.deliver(said, others(federation, 2))
    reply = federation.deliver(said, [2], upload=False)[2]
    faults = send(federation, altered_unmask(federation, 2, reply, owners))
    assert [(fault.culprit, fault.code) for fault in faults] == [("site-2", Refusal.BAD_COMMITMENT)]
    opened = federation.session.state.opened
    assert all((2 in opened[owner]) == (owner not in owners) for owner in range(6))
    assert finish(federation, federation.close()) == "Released"
    assert np.array_equal(lanes(federation), federation.plain_sum(range(6)))


def test_bad_shares_from_too_many_holders_lose_the_round_and_name_each(play):
    federation = play(6)
    said = federation.until("request")
    threshold = federation.session.state.judged.agreement.cohort.threshold
    bad = list(range(6 - threshold + 1))
    federation.deliver(said, others(federation, *bad))
    replies = federation.deliver(said, bad, upload=False)
    for node in bad:
        faults = send(federation, altered_unmask(federation, node, replies[node], [5]))
        assert [(fault.culprit, fault.code) for fault in faults] == [(f"site-{node}", Refusal.BAD_COMMITMENT)]
    federation.deliver(federation.close())
    state = federation.session.state
    assert (state.phase.value, state.code, state.again) == ("Aborted", Refusal.TOO_FEW_SHARES, False)
    nothing_opened(federation)


def test_shares_of_the_other_kind_do_not_count(play):
    """A corrupt holder gives R of an accepted node: it opens no commitment of b."""
    federation = play(6)
    said = federation.until("request")
    state = federation.session.state
    roots = {owner: held.root_share.reveal() for owner, held in federation.agents[2].state.held.items()}
    reply = federation.deliver(said, [2], upload=False)[2]
    body = parse(reply.control)
    plain = state.secrets.round_key.open(unmask_info(body.v, 2), body.box)
    shares = tuple(
        replace(item, share=roots[item.owner]) for item in OpenedShares.from_bytes(plain, 1 << 20).shares
    )
    round_key = state.judged.agreement.terms.offer.round_key
    box = seal_opened(round_key, body.v, 2, OpenedShares(shares).to_bytes())
    faults = send(federation, as_node(federation, 2, Unmask(body.v, 2, box)))
    assert [(fault.culprit, fault.code) for fault in faults] == [("site-2", Refusal.BAD_COMMITMENT)]
    assert not any(federation.session.state.opened.values())


def test_a_box_for_another_verdict_or_key_is_its_senders_fault(play):
    federation = play(6)
    said = federation.until("request")
    reply = federation.deliver(said, [2], upload=False)[2]
    body, state = parse(reply.control), federation.session.state
    round_key = state.judged.agreement.terms.offer.round_key
    for v, sender in ((bytes(32), 2), (body.v, 3)):
        box = seal_opened(round_key, v, sender, OpenedShares(()).to_bytes())
        faults = send(federation, as_node(federation, 2, Unmask(body.v, 2, box)))
        assert [(fault.culprit, fault.code) for fault in faults] == [("site-2", Refusal.BAD_BOX)]
    faults = send(federation, as_node(federation, 2, replace(body, v=bytes(32))))
    assert [(fault.culprit, fault.code) for fault in faults] == [("site-2", Refusal.WRONG_CONTEXT)]
    box = seal_opened(round_key, body.v, 2, b"\x00")
    faults = send(federation, as_node(federation, 2, Unmask(body.v, 2, box)))
    assert [(fault.culprit, fault.code) for fault in faults] == [("site-2", Refusal.MALFORMED)]
    assert federation.session.state is state
    # Its honest answer still counts.
    assert federation.upload(2, reply) == ()
    federation.deliver(said, others(federation, 2))
    assert finish(federation, federation.close()) == "Released"


def test_rejecting_everybody_but_the_floor_opens_each_kind_once(play):
    federation = play(7)
    said = federation.until("frozen")
    loot = Loot.of(federation)
    forged = verdict(federation, range(4), said)
    message = parse(forged[1][1])
    signed = federation.deliver(forged, upload=False)
    asked = request(federation, message, [reply.control for reply in signed.values()])
    loot.open_boxes(federation.deliver(asked, upload=False), message)
    assert loot.rebuilt() == {(node, "self") for node in range(4)} | {(node, "root") for node in (4, 5, 6)}
    assert not loot.naked()
