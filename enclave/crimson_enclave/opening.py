"""Opening the sums: rebuild the secrets that the verdict opens, and take their masks out again.

Runs once per confirmed verdict (steps 12.2 to 12.4). What it rebuilds is the self-mask seed of an
accepted node or the round root of one that left: never both, because no holder opened both.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from crimson_enclave.rounds.unmask import owners
from crimson_enclave.state import Dealing, Spool, Unmasking
from crimson_protocol import faults
from crimson_protocol.crypto.labels import PAIR_COMMITMENT
from crimson_protocol.errors import PeerFault
from crimson_protocol.faults import BadDealerProof, ShownShare
from crimson_protocol.graph import sealer
from crimson_protocol.layout import Slice, Words
from crimson_protocol.log import MerkleLog, leaf_hash
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.boxes import open_pair, pair_info
from crimson_protocol.secret.commitments import check
from crimson_protocol.secret.keys import RoundRoot, Secret
from crimson_protocol.secret.masking import Stream, apply_streams, pair_added, pair_stream, self_stream
from crimson_protocol.wire.messages.share import RowLeaf


@dataclass(frozen=True)
class Rebuilt:
    """The secrets of one opening, by owner. Both mappings are disjoint by construction."""

    seeds: Mapping[int, Secret] = field(repr=False)
    roots: Mapping[int, RoundRoot] = field(repr=False)


class BadDealer(PeerFault):
    """Good shares rebuild another secret than the dealer committed to; `proof` convicts it anywhere."""

    def __init__(self, culprit: str, proof: bytes) -> None:
        super().__init__(
            Refusal.BAD_DEALER, "its shares rebuild another secret than it committed to", culprit
        )
        self.proof = proof


def rebuild(state: Unmasking) -> Rebuilt:
    """Step 12.2: a threshold of good shares per owner, checked against the owner's commitment, or BadDealer."""
    agreement = state.judged.agreement
    seeds: dict[int, Secret] = {}
    roots: dict[int, RoundRoot] = {}
    for owner, which in owners(state):
        holders = sorted(state.opened[owner])[: agreement.cohort.threshold]
        shares = {holder + 1: state.opened[owner][holder] for holder in holders}
        secret = faults.rebuild(which, shares, agreement.advertisements[owner])
        if secret is None:
            proof = _proof(state, owner, which, holders)
            raise BadDealer(agreement.terms.policy.name(owner), proof)
        if which == "self":
            seeds[owner] = secret
        else:
            roots[owner] = RoundRoot(secret.reveal())
    return Rebuilt(seeds, roots)


def _proof(state: Unmasking, owner: int, which: str, holders: list[int]) -> bytes:
    dealing, envelope = state.dealings[owner], state.judged.agreement.envelopes[owner]
    tree = MerkleLog(leaf_hash(leaf.to_bytes()) for leaf in dealing.leaves)
    places = {leaf.recipient: place for place, leaf in enumerate(dealing.leaves)}
    shown = tuple(
        ShownShare(
            dealing.leaves[places[holder]],
            places[holder],
            tree.inclusion_proof(places[holder], tree.size),
            state.opened[owner][holder],
        )
        for holder in holders
    )
    return BadDealerProof(which, envelope, dealing.manifest, shown).to_bytes()


def unmask_bucket(state: Unmasking, place: int, rebuilt: Rebuilt, spool: Spool) -> None:
    """Steps 12.3 and 12.4 for one bucket: take rejected vectors out, then every mask, in place.

    Everything that the relay must hand out comes first, so the sum is never left half unmasked: where the
    link breaks, the same call does what is still to do.
    """
    agreement, verdict = state.judged.agreement, state.judged.verdict
    bucket = agreement.graph.buckets[place]
    for node in sorted(set(bucket) & set(verdict.rejected)):
        state.sums.remove(node, spool.vector(node), state.judged.frozen.digests[node])
    layout, suite = agreement.terms.layout, agreement.terms.offer.suite
    pairs = dict(_pair_secrets(state, bucket, rebuilt, spool))

    def take_out(total: Words) -> None:
        for part in layout.slices():
            view = total[part.start : part.start + part.length]
            apply_streams(view, _streams(state, bucket, part, rebuilt, pairs), suite)

    state.sums.unmask(place, take_out)


def _streams(
    state: Unmasking,
    bucket: tuple[int, ...],
    part: Slice,
    rebuilt: Rebuilt,
    pairs: Mapping[tuple[int, int], Secret],
) -> Iterator[Stream]:
    t1 = state.judged.frozen.dealt.t1
    for node in bucket:
        if node in rebuilt.seeds:
            yield self_stream(rebuilt.seeds[node], t1, node, part, added=False)
    for (gone, accepted), secret in pairs.items():
        # The accepted node's half is still in the sum; its sign turned round takes it out.
        yield pair_stream(secret, t1, accepted, gone, part, added=not pair_added(accepted, gone))


def _pair_secrets(
    state: Unmasking, bucket: tuple[int, ...], rebuilt: Rebuilt, spool: Spool
) -> Iterator[tuple[tuple[int, int], Secret]]:
    """Each (gone node, accepted neighbour) of the bucket with the pair secret that the root gives back."""
    agreement, accepted = state.judged.agreement, set(state.judged.verdict.accepted)
    for gone in sorted(set(bucket) & set(rebuilt.roots)):
        root, mask_key = rebuilt.roots[gone], rebuilt.roots[gone].mask_key()
        for peer in sorted(agreement.graph.neighbours[gone] & accepted):
            if sealer(gone, peer) == gone:
                secret, dealt = root.pair_secret(agreement.t0, gone, peer), state.dealings[gone].leaf(peer)
                committed = dealt.pair_commitment if dealt else None
                # The peer masked with what it was sealed: anything else than its root gives is the dealer's fault.
                check(
                    PAIR_COMMITMENT,
                    secret,
                    committed or b"",
                    Refusal.BAD_DEALER,
                    agreement.terms.policy.name(gone),
                )
                yield (gone, peer), secret
                continue
            leaf, box = pair_box(state.dealings, peer, gone, spool)
            try:
                secret = open_pair(mask_key, pair_info(agreement.t0, peer, gone), box)
                check(PAIR_COMMITMENT, secret, leaf.pair_commitment or b"", Refusal.BAD_BOX)
            except PeerFault as fault:
                raise PeerFault(Refusal.BAD_BOX, fault.text, agreement.terms.policy.name(peer)) from fault
            yield (gone, peer), secret


def pair_box(
    dealings: Mapping[int, Dealing], dealer: int, recipient: int, spool: Spool
) -> tuple[RowLeaf, bytes]:
    """A pair box from the spool, which must hand out the bytes that the dealer's manifest names.

    Raises PeerFault(DIGEST_DIFFERS) on the gateway: a wrong box must not convict the dealer.
    """
    leaf = dealings[dealer].leaf(recipient)
    box = spool.pair_box(dealer, recipient)
    if leaf is None or hashlib.sha256(box).digest() != leaf.pair_digest:
        raise PeerFault(Refusal.DIGEST_DIFFERS, "the spool's pair box is not the dealt one", "gateway")
    return leaf, box
