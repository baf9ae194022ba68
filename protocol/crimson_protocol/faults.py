"""Fault proofs: what convicts a node before anybody who holds the policy, without trusting the enclave."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from crimson_protocol.crypto.labels import ROOT_COMMITMENT, SELF_COMMITMENT, SHARE_COMMITMENT
from crimson_protocol.errors import PeerFault
from crimson_protocol.log import leaf_hash, verify_inclusion
from crimson_protocol.policy.document import Policy
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.commitments import check, commit
from crimson_protocol.secret.keys import RoundRoot, Secret
from crimson_protocol.secret.shamir import combine
from crimson_protocol.wire.envelope import Envelope
from crimson_protocol.wire.messages.advertise import Advertise
from crimson_protocol.wire.messages.confirm import MAX_PROOF
from crimson_protocol.wire.messages.share import MAX_ADVERTISEMENT, Manifest, RowLeaf
from crimson_protocol.wire.records import MAX_NODES, Bytes, BytesUpTo, Items, Nested, OneOf, Record, UInt
from crimson_protocol.wire.table import BY_RECORD

SECRETS = ("self", "root")


@dataclass(frozen=True)
class ShownShare(Record):
    """A share, the row that commits to it, and the row's place and path under the manifest's root."""

    leaf: Annotated[RowLeaf, Nested(RowLeaf)]
    place: Annotated[int, UInt(MAX_NODES)]
    path: Annotated[tuple[bytes, ...], Items(Bytes(32), 16)]
    share: Annotated[bytes, Bytes(32)]


@dataclass(frozen=True)
class BadDealerProof(Record):
    """Enough committed shares of one secret that rebuild something else than the dealer committed to."""

    secret: Annotated[str, OneOf(SECRETS)]
    advertisement: Annotated[bytes, BytesUpTo(MAX_ADVERTISEMENT)]
    manifest: Annotated[bytes, BytesUpTo(512)]
    shares: Annotated[tuple[ShownShare, ...], Items(Nested(ShownShare), MAX_NODES)]


@dataclass(frozen=True)
class Attempt:
    """What a judge must know of the attempt that a proof speaks of."""

    offer_digest: bytes
    t0: bytes
    threshold: int


def convict(data: bytes, policy: Policy, attempt: Attempt) -> int:
    """Roster index of the dealer that the proof convicts in `attempt`, or PeerFault (steps F1 to F4).

    An honest dealer cannot be convicted: shares that open its signed commitments lie on its polynomial.
    """
    proof = BadDealerProof.from_bytes(data, MAX_PROOF)
    # F1: advertisement and manifest are the dealer's own, and of this attempt.
    advertisement = Envelope.from_bytes(proof.advertisement, MAX_ADVERTISEMENT)
    manifest = Envelope.from_bytes(proof.manifest, 512)
    dealer = advertisement.sender
    if dealer is None or dealer >= len(policy.roster) or manifest.sender != dealer:
        raise PeerFault(Refusal.BAD_DEALER, "the proof names no dealer")
    for envelope, record in ((advertisement, Advertise), (manifest, Manifest)):
        if envelope.kind != BY_RECORD[record].kind:
            raise PeerFault(Refusal.BAD_DEALER, "the proof holds other messages than it should")
        # Whoever attached a forged proof is at fault, not the node it names.
        envelope.verify(policy.roster[dealer].identity_key)
    advertised = Advertise.from_bytes(advertisement.body, MAX_ADVERTISEMENT)
    committed = Manifest.from_bytes(manifest.body, 512)
    if advertised.offer_digest != attempt.offer_digest or committed.t0 != attempt.t0:
        raise PeerFault(Refusal.BAD_DEALER, "the proof is about another attempt")
    # F2: enough shares, each of another recipient, and F3: each one the dealer committed to.
    shares = _committed_shares(proof, committed)
    if len(shares) != attempt.threshold:
        raise PeerFault(Refusal.BAD_DEALER, "the proof needs exactly a threshold of distinct shares")
    # F4: together they do not rebuild what the dealer advertised.
    if rebuild(proof.secret, shares, advertised) is not None:
        raise PeerFault(Refusal.BAD_DEALER, "the shares rebuild the committed secret: nobody is convicted")
    return dealer


def rebuild(which: str, shares: Mapping[int, bytes], advertised: Advertise) -> Secret | None:
    """The secret that a threshold of *committed* shares gives, or None where their dealer is at fault.

    The dealer's, and nobody else's: a share outside the field, another secret than it committed to, or a
    root that its advertised mask key does not follow from.
    """
    try:
        secret = combine(shares)
    except PeerFault:
        return None
    if which == SECRETS[0]:
        seed = Secret(secret)
        return seed if commit(SELF_COMMITMENT, seed) == advertised.self_commitment else None
    root = RoundRoot(secret)
    good = commit(ROOT_COMMITMENT, root) == advertised.root_commitment
    return root if good and root.mask_key().public == advertised.mask_key else None


def _committed_shares(proof: BadDealerProof, manifest: Manifest) -> dict[int, bytes]:
    shares = {}
    for shown in proof.shares:
        leaf = shown.leaf
        verify_inclusion(
            leaf_hash(leaf.to_bytes()), shown.place, manifest.rows, shown.path, manifest.rows_root
        )
        commitment = leaf.self_commitment if proof.secret == SECRETS[0] else leaf.root_commitment
        if commitment is None:
            raise PeerFault(Refusal.BAD_COMMITMENT, "a shown row commits to no share")
        check(SHARE_COMMITMENT, Secret(shown.share), commitment, Refusal.BAD_COMMITMENT)
        shares[leaf.recipient + 1] = shown.share
    return shares
