"""Round 3, submit: check every delivery, then mask and send, or withdraw with a complaint (step 6)."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from crimson_node.encoding import encode_update
from crimson_node.member import Member, Update
from crimson_node.seen import VectorSent
from crimson_node.state import SharesDealt, Submitted, Withdrawn
from crimson_protocol.agreement import Agreement, Dealt, deal
from crimson_protocol.crypto.labels import PAIR_COMMITMENT, SHARE_COMMITMENT
from crimson_protocol.entropy import Fill
from crimson_protocol.errors import PeerFault
from crimson_protocol.exposure import sketched_round
from crimson_protocol.graph import sealer
from crimson_protocol.layout import Layout, Slice, Words
from crimson_protocol.log import leaf_hash, verify_inclusion
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.boxes import HeldShares, open_pair, open_shares, pair_info, share_info
from crimson_protocol.secret.commitments import check
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.secret.keys import BoxKey, Secret
from crimson_protocol.secret.masking import Stream, apply_streams, pair_added, pair_stream, self_stream
from crimson_protocol.wire.envelope import Envelope
from crimson_protocol.wire.messages.share import Manifest
from crimson_protocol.wire.messages.submit import Complaint, Delivery, Shared, Submit
from crimson_protocol.wire.packing import pack
from crimson_protocol.wire.table import BY_RECORD

MAX_MANIFEST = 512
Encoder = Callable[[Update, Layout, Fill], Words]
Witness = Callable[[int, Words], None]
"""Sees the encoded vector before it is masked. Only a simulation that trains on everybody's data has one."""


@dataclass(frozen=True)
class Masked:
    """What leaves: the signed header and the packed, masked vector. Both are durable before they are sent."""

    header: bytes = field(repr=False)
    payload: memoryview = field(repr=False)
    entry: VectorSent


@dataclass(frozen=True)
class Opened:
    """Everything that was delivered to this node, opened and checked."""

    held: Mapping[int, HeldShares] = field(repr=False)
    pairs: Mapping[int, Secret] = field(repr=False)


class BadDelivery(PeerFault):
    """One dealer's delivery is bad; the node withdraws and complains about it."""

    def __init__(self, fault: PeerFault, dealer: int, culprit: str, reason: str) -> None:
        super().__init__(fault.code, fault.text, culprit)
        self.dealer, self.reason = dealer, reason


def submit(
    state: SharesDealt,
    member: Member,
    shared: Shared,
    fill: Fill,
    witness: Witness | None = None,
    encode: Encoder | None = None,
) -> tuple[Submitted, Masked] | tuple[Withdrawn, bytes]:
    """Step 6. Raises PeerFault on the enclave for a bad set; complains about a bad dealer."""
    dealt = check_set(state, member, shared)
    try:
        opened = open_deliveries(state, member, dealt, shared)
    except BadDelivery as bad:
        return Withdrawn(str(bad)), _complaint(state, member, dealt, bad)
    terms = dealt.agreement.terms
    vector = (encode or encode_update)(state.update, terms.layout, fill)
    if witness is not None:
        witness(member.index, vector.copy())
    kept = vector.copy() if sketched_round(terms.rules, terms.offer.round) else None
    payload = mask(state, member.index, dealt, opened.pairs, vector)
    digest = hashlib.sha256(payload).digest()
    header = Submit(dealt.t1, member.index, digest, len(payload))
    offer = terms.offer
    entry = VectorSent(offer.model, offer.round, offer.attempt, dealt.t1, digest, len(payload))
    masked = Masked(sign_message(member.identity, member.index, header), payload, entry)
    return Submitted(dealt, state.enclave, opened.held, digest, kept), masked


def check_set(state: SharesDealt, member: Member, shared: Shared) -> Dealt:
    """Steps 6.1 to 6.3: our manifest unaltered, enough dealers, a bucket and a degree that hide us."""
    me, agreement = member.index, state.agreement
    if shared.t0 != agreement.t0:
        raise PeerFault(Refusal.WRONG_CONTEXT, "the set was made for another T0", "enclave")
    roots = {dealer.node: dealer.rows_root for dealer in shared.dealers}
    if roots.get(me) != state.rows_root:
        raise PeerFault(Refusal.MANIFEST_ALTERED, "this node's own manifest is missing or altered", "enclave")
    dealt = deal(agreement, shared.dealers)
    bucket = agreement.bucket_of(me)
    if len(set(bucket) & dealt.nodes) < agreement.open_floor(bucket):
        raise PeerFault(Refusal.BUCKET_TOO_SMALL, "too few nodes of this node's bucket dealt", "enclave")
    if len(agreement.graph.neighbours[me] & dealt.nodes) < agreement.live_degree(bucket):
        raise PeerFault(Refusal.DEGREE_TOO_SMALL, "too few of this node's mask neighbours dealt", "enclave")
    return dealt


def open_deliveries(state: SharesDealt, member: Member, dealt: Dealt, shared: Shared) -> Opened:
    """Step 6.4: from every dealer that owes this node a row, exactly one, proven, opened, as committed."""
    me, agreement = member.index, state.agreement
    deliveries = {delivery.dealer: delivery for delivery in shared.deliveries}
    owed = {node for node in dealt.nodes - {me} if agreement.owes(node, me)}
    if set(deliveries) != owed:
        raise PeerFault(Refusal.MANIFEST_ALTERED, "deliveries are missing, or too many", "enclave")
    roots = {dealer.node: dealer.rows_root for dealer in dealt.dealers}
    held, pairs, mask_key = {me: state.own}, {}, state.secrets.root.mask_key()
    for dealer in sorted(owed):
        delivery = deliveries[dealer]
        _prove(agreement, member, delivery, roots[dealer])
        shares, pair = _open(state, member, mask_key, delivery)
        if shares is not None:
            held[dealer] = shares
        if pair is not None:
            pairs[dealer] = pair
    for peer in agreement.graph.neighbours[me] & dealt.nodes:
        if sealer(me, peer) == me:
            pairs[peer] = state.secrets.root.pair_secret(agreement.t0, me, peer)
    return Opened(held, pairs)


def _prove(agreement: Agreement, member: Member, delivery: Delivery, rows_root: bytes) -> None:
    """The row is the dealer's own, for this node: relayed bytes that fail here are not the dealer's fault."""
    dealer, policy, row = delivery.dealer, member.policy, delivery.row
    envelope = Envelope.from_bytes(delivery.manifest, MAX_MANIFEST).checked_kind(BY_RECORD[Manifest].kind)
    envelope.verify(policy.roster[dealer].identity_key, "enclave")
    manifest = Manifest.from_bytes(envelope.body, MAX_MANIFEST)
    made_for = (envelope.sender, manifest.node, manifest.t0, manifest.rows_root, row.recipient)
    if made_for != (dealer, dealer, agreement.t0, rows_root, member.index):
        raise PeerFault(
            Refusal.MANIFEST_ALTERED, f"the row of {policy.name(dealer)} is for another place", "enclave"
        )
    place = agreement.recipients(dealer).index(member.index)
    try:
        verify_inclusion(leaf_hash(row.leaf().to_bytes()), place, manifest.rows, delivery.path, rows_root)
    except PeerFault as fault:
        raise PeerFault(Refusal.MANIFEST_ALTERED, fault.text, "enclave") from fault


def _open(
    state: SharesDealt, member: Member, mask_key: BoxKey, delivery: Delivery
) -> tuple[HeldShares | None, Secret | None]:
    """What the row holds. Its bytes are proven to be the dealer's, so a failure is the dealer's: BadDelivery."""
    me, dealer, row, t0 = member.index, delivery.dealer, delivery.row, state.agreement.t0
    reason, shares, pair = "manifest", None, None
    try:
        if not state.agreement.row_complete(dealer, row):
            raise PeerFault(Refusal.MANIFEST_ALTERED, "a row has a box or commitment too many or too few")
        if row.share_box is not None:
            reason = "share-box"
            shares = open_shares(state.secrets.share_key, share_info(t0, dealer, me), row.share_box)
            reason = "share-commitment"
            for share, commitment in (
                (shares.self_share, row.self_commitment),
                (shares.root_share, row.root_commitment),
            ):
                check(SHARE_COMMITMENT, share, commitment or b"", Refusal.BAD_COMMITMENT)
        if row.pair_box is not None:
            reason = "pair-box"
            pair = open_pair(mask_key, pair_info(t0, dealer, me), row.pair_box)
            check(PAIR_COMMITMENT, pair, row.pair_commitment or b"", Refusal.BAD_COMMITMENT)
    except PeerFault as fault:
        raise BadDelivery(fault, dealer, member.policy.name(dealer), reason) from fault
    return shares, pair


def _complaint(state: SharesDealt, member: Member, dealt: Dealt, bad: BadDelivery) -> bytes:
    """Only a bad pair box is proven by revealing something: the mask key of an attempt that this node leaves
    without having submitted. The share key is never revealed: it would open everybody's shares."""
    revealed = state.secrets.root.mask_key().reveal() if bad.reason == "pair-box" else None
    complaint = Complaint(dealt.t1, member.index, bad.dealer, bad.reason, revealed)
    return sign_message(member.identity, member.index, complaint)


def mask(
    state: SharesDealt,
    me: int,
    dealt: Dealt,
    pairs: Mapping[int, Secret],
    vector: Words,
) -> memoryview:
    """Step 6.5: add the self mask and every pair mask of the dealt set to the encoded vector, in place; pack."""
    terms = dealt.agreement.terms
    layout = terms.layout
    for part in layout.slices():
        view = vector[part.start : part.start + part.length]
        apply_streams(view, _streams(state, me, dealt, pairs, part), terms.offer.suite)
    return memoryview(pack(vector, layout.numbers.ring_bits)).cast("B")


def _streams(
    state: SharesDealt, me: int, dealt: Dealt, pairs: Mapping[int, Secret], part: Slice
) -> Iterator[Stream]:
    yield self_stream(state.secrets.seed, dealt.t1, me, part, added=True)
    for peer in sorted(dealt.agreement.graph.neighbours[me] & dealt.nodes):
        yield pair_stream(pairs[peer], dealt.t1, me, peer, part, added=pair_added(me, peer))
