"""Forged, foreign and misaddressed pair boxes: the dealer is named where it can be shown, the complainer where not."""

from dataclasses import replace

import numpy as np
import pytest
from tests.adversary import (
    as_node,
    faults_of,
    finish,
    nothing_opened,
    others,
    refusals,
    send,
    stranger,
    turn,
)
from tests.playground import lanes, parse

import crimson_node.rounds.share as share_step
from crimson_protocol.graph import sealer
from crimson_protocol.log import inclusion_path, merkle_root
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.boxes import pair_info, seal_pair
from crimson_protocol.secret.keys import Secret
from crimson_protocol.transcript import t1
from crimson_protocol.wire.messages.submit import Complaint

DEALER = 2
VICTIMS = [node for node in range(6) if node != DEALER and sealer(DEALER, node) == DEALER]


def wrong_key(public, info, secret):
    return seal_pair(stranger().public, info, secret)


def wrong_t0(public, info, secret):
    return seal_pair(public, pair_info(bytes(32), DEALER, VICTIMS[0]), secret)


def wrong_secret(public, info, secret):
    return seal_pair(public, info, Secret(bytes(32)))


def wrong_length(public, info, secret):
    box = seal_pair(public, info, secret)
    return box[:-1] + bytes([box[-1] ^ 1])


@pytest.mark.parametrize("seal", [wrong_key, wrong_t0, wrong_secret, wrong_length])
def test_a_bad_pair_box_ends_the_attempt_and_the_next_one_goes_on_without_its_dealer(play, monkeypatch, seal):
    federation = play(6)
    roster = federation.until("roster")
    with monkeypatch.context() as patched:
        turn(federation, roster, DEALER, lambda: patched.setattr(share_step, "seal_pair", seal))
    said = federation.close()
    # The first complaint, with the mask key that proves it, is enough.
    federation.deliver(said)
    assert faults_of(federation)[0] == (f"site-{DEALER}", Refusal.BAD_BOX)
    state = federation.session.state
    assert (state.phase.value, state.code, state.culprits, state.again) == (
        "Aborted",
        Refusal.BAD_BOX,
        (f"site-{DEALER}",),
        True,
    )
    assert federation.agents[VICTIMS[0]].state.phase.value == "Withdrawn"
    nothing_opened(federation)
    federation.prepare()
    assert finish(federation, federation.open(again=True)) == "Released"
    _, accepted = federation.opened[-1]
    assert accepted == tuple(others(federation, DEALER))
    assert np.array_equal(lanes(federation), federation.plain_sum(accepted))


def test_a_pair_box_that_the_enclave_forged_is_the_enclaves(play):
    """It is not under the dealer's manifest, so the dealer is not blamed and no key is revealed."""
    federation = play(6)
    said = federation.until("shared")
    altered = []
    for recipient, data in said:
        message = parse(data)
        box = seal_pair(stranger().public, b"", Secret(bytes(32)))
        deliveries = tuple(
            replace(item, row=replace(item.row, pair_box=box)) if item.row.pair_box else item
            for item in message.deliveries
        )
        altered.append((recipient, federation.forge(replace(message, deliveries=deliveries))))
    sealed_to = [
        node for node in range(6) if any(item.row.pair_box for item in parse(said[node][1]).deliveries)
    ]
    refused = refusals(federation, altered, sealed_to)
    assert {node: (fault.code, fault.culprit) for node, fault in refused.items()} == dict.fromkeys(
        sealed_to, (Refusal.MANIFEST_ALTERED, "enclave")
    )
    assert not faults_of(federation)
    nothing_opened(federation)


def complaint(federation, node: int, dealer: int, key: bytes | None, reason: str = "pair-box") -> bytes:
    transcript = federation.session.state.dealt.t1
    return as_node(federation, node, Complaint(transcript, node, dealer, reason, key))


@pytest.mark.parametrize("lie", ["own key", "foreign key", "not a sealer", "itself", "nobody"])
def test_a_false_complaint_is_blamed_on_the_complainer_and_the_round_goes_on(play, lie):
    federation = play(6)
    said = federation.until("shared")
    liar = VICTIMS[0]
    key = federation.agents[liar].state.secrets.root.mask_key().reveal()
    no_sealer = next(node for node in others(federation, liar) if sealer(liar, node) == liar)
    dealer = {"not a sealer": no_sealer, "itself": liar, "nobody": 4000}.get(lie, DEALER)
    control = complaint(federation, liar, dealer, stranger().reveal() if lie == "foreign key" else key)
    federation.deliver(said, others(federation, liar))
    faults = send(federation, control)
    assert [(fault.culprit, fault.code) for fault in faults] == [(f"site-{liar}", Refusal.FALSE_COMPLAINT)]
    # It withdrew by complaining: a vector of its after that is refused.
    late = federation.deliver(said, [liar])
    assert late and faults_of(federation)[-1] == (f"site-{liar}", Refusal.WRONG_PHASE)
    assert finish(federation, federation.close(), others(federation, liar)) == "Released"
    _, accepted = federation.opened[-1]
    assert accepted == tuple(others(federation, liar))
    assert np.array_equal(lanes(federation), federation.plain_sum(accepted))


def test_a_complaint_after_the_vector_is_refused(play):
    federation = play(6)
    federation.deliver(federation.until("shared"))
    faults = send(federation, complaint(federation, 1, 0, stranger().reveal()))
    assert [(fault.culprit, fault.code) for fault in faults] == [("site-1", Refusal.WRONG_PHASE)]
    assert finish(federation, federation.close()) == "Released"


def test_a_complaint_about_another_t1_is_refused(play):
    federation = play(6)
    said = federation.until("shared")
    state = federation.session.state
    other = t1(bytes(32), state.dealt.dealers)
    faults = send(federation, as_node(federation, 1, Complaint(other, 1, 0, "share-box", None)))
    assert [(fault.culprit, fault.code) for fault in faults] == [("site-1", Refusal.WRONG_CONTEXT)]
    assert federation.session.state is state
    assert finish(federation, said) == "Released"


@pytest.mark.parametrize("reason", ["manifest", "share-box", "share-commitment", "pair-box"])
def test_a_complaint_that_shows_nothing_blames_nobody_and_drops_the_complainer(play, reason):
    federation = play(6)
    said = federation.until("shared")
    federation.deliver(said, others(federation, 1))
    assert send(federation, complaint(federation, 1, 0, None, reason)) == ()
    assert finish(federation, federation.close(), others(federation, 1)) == "Released"
    assert federation.opened[-1][1] == tuple(others(federation, 1))


def test_a_spool_that_hands_out_another_pair_box_convicts_nobody(play):
    """Otherwise the relay could exclude a dealer by answering a false complaint with a broken box."""
    federation = play(6)
    federation.until("shared")
    liar = VICTIMS[0]
    key = federation.agents[liar].state.secrets.root.mask_key().reveal()
    federation.spool.pair_box = lambda dealer, recipient: bytes(1168)
    state = federation.session.state
    faults = send(federation, complaint(federation, liar, DEALER, key))
    assert [(fault.culprit, fault.code) for fault in faults] == [("gateway", Refusal.DIGEST_DIFFERS)]
    assert federation.session.state is state


def test_a_row_without_its_pair_box_is_a_bad_delivery_not_a_crash(play):
    """A corrupt dealer leaves its pair boxes out, and a broken enclave passes the row on."""
    federation = play(6)
    said = federation.until("shared")
    victim = VICTIMS[0]
    message = parse(dict(said)[victim])
    item = next(item for item in message.deliveries if item.dealer == DEALER)
    rows = [parse(federation.spool.shares[DEALER]).rows[place] for place in range(6)]
    rows = [replace(row, pair_box=None, pair_commitment=None) for row in rows]
    leaves = [row.leaf().to_bytes() for row in rows]
    manifest = replace(parse(item.manifest), rows_root=merkle_root(leaves))
    forged = replace(
        item,
        manifest=as_node(federation, DEALER, manifest),
        row=rows[victim],
        path=inclusion_path(leaves, victim),
    )
    dealers = tuple(
        replace(dealer, rows_root=manifest.rows_root) if dealer.node == DEALER else dealer
        for dealer in message.dealers
    )
    deliveries = tuple(forged if other.dealer == DEALER else other for other in message.deliveries)
    altered = federation.forge(replace(message, dealers=dealers, deliveries=deliveries))
    replies = federation.deliver([(victim, altered)], upload=False)
    body = parse(replies[victim].control)
    assert (body.dealer, body.reason, body.mask_key) == (DEALER, "manifest", None)
    assert federation.agents[victim].state.phase.value == "Withdrawn"
    assert victim not in federation.encoded
