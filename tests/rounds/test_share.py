"""Round 2, share: rosters that nodes refuse (steps 4.1 to 4.4) and shares that the enclave refuses (4.5, 4.6)."""

from dataclasses import replace

import numpy as np
import pytest
from tests.adversary import as_node, finish, nothing_opened, others, refused_by, send, stranger
from tests.playground import entropy, lanes, parse

from crimson_protocol.errors import PeerFault
from crimson_protocol.log import merkle_root
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.secret.keys import IdentityKey
from crimson_protocol.wire.messages.share import MAX_ADVERTISEMENT, Share


@pytest.fixture
def rostered(play):
    """The roster is out and not delivered."""
    federation = play(6)
    federation.said = federation.until("roster")
    federation.known = parse(federation.said[0][1]).advertisements
    return federation


def altered(federation, **changes):
    return federation.alter(federation.said, **changes)


def test_an_advertisement_signed_by_nobody_of_the_roster_is_refused(rostered):
    forged = sign_message(IdentityKey.fresh(entropy("relay")), 3, parse(rostered.known[3]))
    chosen = (*rostered.known[:3], forged, *rostered.known[4:])
    refused_by(rostered, altered(rostered, advertisements=chosen), Refusal.UNKNOWN_NODE)
    nothing_opened(rostered)


@pytest.mark.parametrize("key", ["mask_key", "share_key", "root_commitment", "self_commitment"])
def test_a_swapped_key_or_commitment_is_refused(rostered, key):
    length = len(getattr(parse(rostered.known[3]), key))
    swapped = replace(parse(rostered.known[3]), **{key: (stranger().public + bytes(32))[:length]})
    forged = sign_message(IdentityKey.fresh(entropy("relay")), 3, swapped)
    chosen = (*rostered.known[:3], forged, *rostered.known[4:])
    refused_by(rostered, altered(rostered, advertisements=chosen), Refusal.UNKNOWN_NODE)


def test_own_advertisement_missing_is_refused_by_its_node(rostered):
    forged = altered(rostered, advertisements=rostered.known[1:])
    refused_by(rostered, forged, Refusal.UNKNOWN_NODE, [0])
    assert rostered.agents[0].state.phase.value == "Withdrawn"


def test_own_advertisement_altered_is_refused_by_its_node(rostered):
    own = as_node(rostered, 0, replace(parse(rostered.known[0]), mask_key=stranger().public))
    forged = altered(rostered, advertisements=(own, *rostered.known[1:]))
    refused_by(rostered, forged, Refusal.UNKNOWN_NODE, [0])


def test_one_node_twice_is_refused(rostered):
    forged = altered(rostered, advertisements=(*rostered.known, rostered.known[5]))
    refused_by(rostered, forged, Refusal.UNKNOWN_NODE)


def test_fewer_than_min_cohort_is_refused(rostered):
    forged = altered(rostered, advertisements=rostered.known[:3])
    refused_by(rostered, forged, Refusal.COHORT_TOO_SMALL, [0, 1, 2])
    nothing_opened(rostered)


def test_another_nonce_than_the_committed_one_is_refused(rostered):
    refused_by(rostered, altered(rostered, graph_nonce=bytes(32)), Refusal.NONCE_NOT_COMMITTED)


def test_a_roster_for_another_offer_changes_nothing(rostered):
    refused_by(rostered, altered(rostered, offer_digest=bytes(32)), Refusal.WRONG_CONTEXT)
    assert finish(rostered, rostered.said) == "Released"


@pytest.mark.parametrize("bad", [b"", b"\x80", bytes(MAX_ADVERTISEMENT)])
def test_an_advertisement_that_is_none_is_refused(rostered, bad):
    forged = altered(rostered, advertisements=(*rostered.known, bad))
    refused_by(rostered, forged, Refusal.MALFORMED)


def test_another_signed_message_in_place_of_an_advertisement_is_refused(rostered):
    replies = rostered.deliver(rostered.said, [3], upload=False)
    manifest = parse(replies[3].control).manifest
    forged = altered(rostered, advertisements=(*rostered.known, manifest))
    refused_by(rostered, forged, Refusal.MALFORMED, others(rostered, 3))


def test_the_order_of_the_roster_does_not_matter(rostered):
    """Everybody sorts for itself, so an enclave cannot steer the graph by the order it lists nodes in."""
    rostered.deliver(altered(rostered, advertisements=rostered.known[::-1]), [0], upload=False)
    rostered.deliver(rostered.said, [1], upload=False)
    states = [rostered.agents[node].state.agreement for node in (0, 1)]
    assert states[0].t0 == states[1].t0
    assert states[0].graph == states[1].graph


# What the enclave refuses of a dealer.


@pytest.fixture
def dealing(play):
    """Everybody has dealt but site 2, whose Share has not been sent."""
    federation = play(6)
    said = federation.until("roster")
    federation.deliver(said, others(federation, 2))
    federation.reply = federation.deliver(said, [2], upload=False)[2]
    federation.share = parse(federation.reply.control)
    federation.manifest = parse(federation.share.manifest)
    return federation


def deal(federation, chosen, **manifest) -> bytes:
    """Site 2's rows under a manifest that commits to them, or says otherwise."""
    root = merkle_root([row.leaf().to_bytes() for row in chosen])
    known = {"rows": len(chosen), "rows_root": root, **manifest}
    signed = as_node(federation, 2, replace(federation.manifest, **known))
    return as_node(federation, 2, Share(signed, tuple(chosen)))


def refuses(federation, control: bytes, code: Refusal, culprit: str = "site-2") -> None:
    state = federation.session.state
    faults = send(federation, control)
    assert [(fault.culprit, fault.code) for fault in faults] == [(culprit, code)]
    assert federation.session.state is state
    assert finish(federation, federation.close(), others(federation, 2)) == "Released"
    assert np.array_equal(lanes(federation), federation.plain_sum(others(federation, 2)))


ROWS = {
    "a row missing": lambda rows: rows[1:],
    "a row for a stranger": lambda rows: (*rows, replace(rows[-1], recipient=6)),
    "no share box": lambda rows: (replace(rows[0], share_box=None), *rows[1:]),
    "no commitments": lambda rows: (
        replace(rows[0], self_commitment=None, root_commitment=None),
        *rows[1:],
    ),
    "one commitment": lambda rows: (replace(rows[0], root_commitment=None), *rows[1:]),
    "a box for itself": lambda rows: (
        *rows[:2],
        replace(rows[2], share_box=rows[0].share_box),
        *rows[3:],
    ),
    "no pair box": lambda rows: tuple(replace(row, pair_box=None) for row in rows),
    "no pair commitment": lambda rows: tuple(replace(row, pair_commitment=None) for row in rows),
    "a pair box too many": lambda rows: tuple(
        replace(row, pair_box=bytes(1168), pair_commitment=bytes(32)) for row in rows
    ),
}


@pytest.mark.parametrize("why", ROWS)
def test_rows_that_are_not_those_it_owes_are_refused(dealing, why):
    refuses(dealing, deal(dealing, ROWS[why](dealing.share.rows)), Refusal.MANIFEST_ALTERED)


def test_a_manifest_over_other_rows_is_refused(dealing):
    refuses(dealing, deal(dealing, dealing.share.rows, rows_root=bytes(32)), Refusal.MANIFEST_ALTERED)


def test_a_manifest_over_more_rows_is_refused(dealing):
    refuses(dealing, deal(dealing, dealing.share.rows, rows=7), Refusal.MANIFEST_ALTERED)


def test_a_manifest_for_another_t0_is_refused(dealing):
    refuses(dealing, deal(dealing, dealing.share.rows, t0=bytes(32)), Refusal.WRONG_CONTEXT)


def test_a_manifest_in_another_nodes_name_is_refused(dealing):
    refuses(dealing, deal(dealing, dealing.share.rows, node=3), Refusal.WRONG_CONTEXT)


def test_another_nodes_manifest_is_refused(dealing):
    theirs = parse(dealing.spool.shares[3]).manifest
    control = as_node(dealing, 2, replace(dealing.share, manifest=theirs))
    refuses(dealing, control, Refusal.MANIFEST_ALTERED)


def test_a_manifest_with_a_bad_signature_is_refused(dealing):
    broken = dealing.share.manifest[:-1] + bytes([dealing.share.manifest[-1] ^ 1])
    control = as_node(dealing, 2, replace(dealing.share, manifest=broken))
    refuses(dealing, control, Refusal.BAD_SIGNATURE)


def test_a_second_different_share_is_equivocation(dealing):
    dealing.upload(2, dealing.reply)
    state = dealing.session.state
    rows = list(dealing.share.rows)
    rows[0] = replace(rows[0], share_box=bytes(1200))
    faults = send(dealing, deal(dealing, rows))
    assert [(fault.culprit, fault.code) for fault in faults] == [("site-2", Refusal.EQUIVOCATION)]
    assert dealing.session.state is state
    assert dealing.upload(2, dealing.reply) == ()
    assert finish(dealing, dealing.close()) == "Released"


def test_a_share_from_outside_the_roster_of_the_attempt_is_refused(play):
    federation = play(6)
    federation.deliver(federation.until("offer"), others(federation, 5))
    said = federation.close()
    replies = federation.deliver(said, others(federation, 5))
    forged = as_node(federation, 5, parse(replies[0].control))
    faults = send(federation, forged)
    assert [(fault.culprit, fault.code) for fault in faults] == [("site-5", Refusal.WRONG_PHASE)]
    assert finish(federation, federation.close(), others(federation, 5)) == "Released"


def test_too_few_dealers_end_the_attempt_cleanly(play):
    federation = play(6)
    federation.deliver(federation.until("roster"), [0, 1, 2])
    abort = federation.close()
    state = federation.session.state
    assert (state.phase.value, state.code, state.again) == ("Aborted", Refusal.COHORT_TOO_SMALL, True)
    federation.deliver(abort)
    assert all(agent.state.phase.value == "Withdrawn" for agent in federation.agents)
    with pytest.raises(PeerFault) as caught:
        federation.agents[0].receive(abort[0][1])
    assert (caught.value.code, caught.value.culprit) == (Refusal.WRONG_PHASE, "gateway")
    nothing_opened(federation)
