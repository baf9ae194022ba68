"""What enclave and nodes agree on once the Roster is out: members, graph, numbers, T0. Each computes it alone."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from crimson_protocol import transcript
from crimson_protocol.cohort import DENSE_LIMIT, Numbers, bucket_floor, corrupt_count, numbers, quorum
from crimson_protocol.errors import CallerFault, PeerFault, PolicyRefusal
from crimson_protocol.graph import Graph, buckets, build_graph, sealer
from crimson_protocol.layout import Layout
from crimson_protocol.policy.document import ModelRules, Policy
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.messages.advertise import Advertise, Offer
from crimson_protocol.wire.messages.share import ShareRow
from crimson_protocol.wire.messages.submit import Dealer


@dataclass(frozen=True)
class Terms:
    """An offer with the policy it was judged against: known before anybody advertises."""

    policy: Policy = field(repr=False)
    rules: ModelRules = field(repr=False)
    offer: Offer
    offer_digest: bytes

    @property
    def layout(self) -> Layout:
        return Layout(self.offer.numbers)


@dataclass(frozen=True)
class Agreement:
    """One attempt after Roster: who takes part, who masks with whom, who holds whose shares, and T0."""

    terms: Terms
    advertisements: Mapping[int, Advertise] = field(repr=False)
    envelopes: Mapping[int, bytes] = field(repr=False)
    cohort: Numbers
    bucket_cohorts: Mapping[int, Numbers] = field(repr=False)
    floors: Mapping[tuple[int, ...], int] = field(repr=False)
    graph: Graph = field(repr=False)
    t0: bytes

    @property
    def members(self) -> tuple[int, ...]:
        return self.graph.members

    def recipients(self, node: int) -> tuple[int, ...]:
        """Whom a dealer has a row for: its holders, itself among them, and its mask neighbours; ascending."""
        return tuple(sorted(self.graph.holders[node] | self.graph.neighbours[node]))

    def owes(self, dealer: int, peer: int) -> bool:
        """Whether a dealer has a row for `peer`."""
        return peer in self.graph.holders[dealer] or peer in self.graph.neighbours[dealer]

    def smallest_cohort(self) -> int:
        """Accepted nodes below which nothing is opened: max(min_cohort, c + 3)."""
        return max(self.terms.offer.numbers.min_cohort, self.cohort.corrupt + 3)

    def open_floor(self, bucket: tuple[int, ...]) -> int:
        """Accepted nodes that a bucket needs to be opened (`open_floors`)."""
        return self.floors[bucket]

    def row_complete(self, dealer: int, row: ShareRow) -> bool:
        """Whether commitments and boxes stand exactly where the graph wants them."""
        peer = row.recipient
        holds = peer in self.graph.holders[dealer]
        seals = peer in self.graph.neighbours[dealer] and sealer(dealer, peer) == dealer
        return (
            (row.self_commitment is not None) == (row.root_commitment is not None) == holds
            and (row.share_box is not None) == (holds and peer != dealer)
            and (row.pair_box is not None) == (row.pair_commitment is not None) == seals
        )

    def live_degree(self, bucket: tuple[int, ...]) -> int:
        """Accepted neighbours that an accepted node of the bucket needs; none where the bucket is complete."""
        sparse = self.bucket_cohorts.get(len(bucket))
        return sparse.live_degree if sparse else 0

    def bucket_of(self, node: int) -> tuple[int, ...]:
        """The bucket that a member masks in."""
        return next(bucket for bucket in self.graph.buckets if node in bucket)


@dataclass(frozen=True)
class Dealt:
    """One attempt after Shared: who dealt shares, under which manifests, and T1."""

    agreement: Agreement
    dealers: tuple[Dealer, ...]
    t1: bytes

    @property
    def nodes(self) -> frozenset[int]:
        return frozenset(dealer.node for dealer in self.dealers)


def offer_digest(envelope: bytes) -> bytes:
    """Digest of an offer's signed envelope."""
    return hashlib.sha256(envelope).digest()


def open_floors(terms: Terms, members: Iterable[int]) -> dict[tuple[int, ...], int]:
    """The roster epoch's fixed buckets, cut down to `members`, each with the accepted nodes that open it.

    That is c_b + 3, or a declared smaller bucket size. c_b counts the whole bucket of the epoch, present or
    not: otherwise a broken enclave that withholds honest advertisements lowers it. Empty ones are left out.
    """
    knobs, present, floors = terms.offer.numbers, set(members), {}
    size, corrupt = knobs.bucket_size, knobs.corrupt
    declared = size if size is not None and size < bucket_floor(size, corrupt) else None
    for whole in _epoch_buckets(terms):
        if cut := tuple(node for node in whole if node in present):
            sound = bucket_floor(len(whole), corrupt)
            floors[cut] = sound if declared is None else min(sound, declared)
    return floors


def _epoch_buckets(terms: Terms) -> tuple[tuple[int, ...], ...]:
    policy = terms.policy
    return buckets(
        transcript.bucket_seed(policy), policy.members(terms.offer.model), terms.offer.numbers.bucket_size
    )


def filled(terms: Terms, nodes: Iterable[int]) -> frozenset[int]:
    """Those of `nodes` whose bucket has enough of them to be opened at all."""
    floors = open_floors(terms, nodes)
    return frozenset(node for bucket, floor in floors.items() if len(bucket) >= floor for node in bucket)


def agree(
    terms: Terms, envelopes: Mapping[int, bytes], advertised: Mapping[int, Advertise], nonce: bytes
) -> Agreement:
    """The agreement that follows from verified advertisements and the opened nonce.

    Raises PeerFault(COHORT_TOO_SMALL, ORGANISATION_TWICE, ACCESS_DENIED, NONCE_NOT_COMMITTED) on the enclave,
    which composed the roster.
    """
    policy, offer = terms.policy, terms.offer
    members = tuple(sorted(advertised))
    if transcript.nonce_commitment(nonce) != offer.nonce_commitment:
        raise PeerFault(Refusal.NONCE_NOT_COMMITTED, "the graph nonce is not the committed one", "enclave")
    organisations = [policy.roster[node].organisation for node in members]
    if len(set(organisations)) != len(organisations):
        raise PeerFault(Refusal.ORGANISATION_TWICE, "one organisation appears twice", "enclave")
    permitted = policy.members(offer.model)
    if not set(members) <= set(permitted):
        raise PeerFault(Refusal.ACCESS_DENIED, "a member may not train this model", "enclave")
    knobs, active = offer.numbers, len(permitted)
    # Fewer than a quorum could never confirm, and the threshold of so small a round could lie within reach
    # of the roster's corrupt nodes.
    confirmations = quorum(active, knobs.corrupt)
    least = max(knobs.min_cohort, corrupt_count(len(members), knobs.corrupt) + 3, confirmations)
    if len(members) < least:
        raise PeerFault(Refusal.COHORT_TOO_SMALL, f"{len(members)} nodes, at least {least} needed", "enclave")
    floors = open_floors(terms, members)
    parts = tuple(floors)
    try:
        cohort, sized = _numbers(active, terms, parts)
    except PolicyRefusal as refusal:
        raise PeerFault(Refusal.COHORT_TOO_SMALL, refusal.text, "enclave") from refusal
    roster = transcript.roster_digest(policy, envelopes)
    seed = transcript.graph_seed(roster, offer.checkpoint, nonce)
    try:
        graph = build_graph(seed, members, parts, cohort, sized)
    except CallerFault as fault:
        # Members and nonce are the enclave's choice; another draw of the nonce gives another graph.
        raise PeerFault(fault.code, fault.text, "enclave") from fault
    t0 = transcript.t0(offer, terms.offer_digest, roster, seed, transcript.bucket_seed(policy))
    return Agreement(terms, dict(advertised), dict(envelopes), cohort, sized, floors, graph, t0)


def _numbers(
    active: int, terms: Terms, parts: tuple[tuple[int, ...], ...]
) -> tuple[Numbers, dict[int, Numbers]]:
    knobs = terms.offer.numbers
    cohort = numbers(sum(map(len, parts)), active, knobs.corrupt, knobs.dropout)
    large = {len(part) for part in parts if len(part) > DENSE_LIMIT}
    # Who is missing from a bucket is the enclave's choice: its corrupt nodes are those of the whole one.
    whole = max(map(len, _epoch_buckets(terms)))
    return cohort, {size: numbers(size, whole, knobs.corrupt, knobs.dropout) for size in large}


def deal(agreement: Agreement, dealers: tuple[Dealer, ...]) -> Dealt:
    """The attempt after Shared. Raises PeerFault(SETS_DO_NOT_PARTITION, COHORT_TOO_SMALL) on the enclave."""
    nodes = [dealer.node for dealer in dealers]
    if not set(nodes) <= set(agreement.members):
        raise PeerFault(Refusal.SETS_DO_NOT_PARTITION, "a dealer is no member of the roster", "enclave")
    least = max(agreement.smallest_cohort(), agreement.cohort.threshold if agreement.cohort.dense else 0)
    if len(nodes) < least:
        raise PeerFault(
            Refusal.COHORT_TOO_SMALL, f"{len(nodes)} nodes dealt, at least {least} needed", "enclave"
        )
    return Dealt(agreement, dealers, transcript.t1(agreement.t0, dealers))
