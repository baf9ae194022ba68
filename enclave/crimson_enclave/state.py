"""One frozen dataclass per phase of an attempt; each holds only what its phase may use.

The sums are the one exception to immutability: they are the attempt's large state, owned by whoever
holds the current phase, and are never copied.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crimson_enclave.aggregation.memory import Memory
from crimson_enclave.sums import BucketSums
from crimson_protocol.agreement import Agreement, Dealt, Terms
from crimson_protocol.phases import EnclavePhase
from crimson_protocol.receipt import Receipt
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.keys import BoxKey, IdentityKey
from crimson_protocol.survivors import Frozen, Judged
from crimson_protocol.trust import GroupTest
from crimson_protocol.wire.messages.advertise import Advertise
from crimson_protocol.wire.messages.share import Manifest, RowLeaf, Share
from crimson_protocol.wire.messages.submit import Submit


class Spool(Protocol):
    """What the untrusted relay kept and must hand out again. Its bytes are checked by digest every time."""

    def vector(self, node: int) -> Iterable[bytes]:
        """The packed vector that the node submitted, in pieces of any size."""

    def pair_box(self, dealer: int, recipient: int) -> bytes:
        """The pair box from the dealer's Share for one recipient."""


@dataclass(frozen=True)
class RoundSecrets:
    """Keys of one attempt. The round key and the nonce are new each time and go at the end."""

    signer: IdentityKey
    round_key: BoxKey
    graph_nonce: bytes = field(repr=False)


@dataclass(frozen=True)
class Advertised:
    """One verified advertisement with its signed bytes."""

    envelope: bytes = field(repr=False)
    message: Advertise


@dataclass(frozen=True)
class Taken:
    """One verified Share with its parsed manifest."""

    manifest: Manifest
    message: Share = field(repr=False)


@dataclass(frozen=True)
class Dealing:
    """What stays of a Share once its boxes are delivered: the signed manifest and its leaves, by recipient."""

    manifest: bytes = field(repr=False)
    rows_root: bytes
    leaves: tuple[RowLeaf, ...] = field(repr=False)

    def leaf(self, recipient: int) -> RowLeaf | None:
        """The row for one recipient, if the dealer has one."""
        place = bisect_left(self.leaves, recipient, key=lambda leaf: leaf.recipient)
        found = self.leaves[place] if place < len(self.leaves) else None
        return found if found and found.recipient == recipient else None


@dataclass(frozen=True)
class Advertising:
    """Offer is out; advertisements come in. `excluded` were shown to be at fault in an earlier attempt."""

    phase = EnclavePhase.ADVERTISING
    terms: Terms
    secrets: RoundSecrets
    advertised: Mapping[int, Advertised] = field(default_factory=dict)
    excluded: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Sharing:
    """Roster is out; shares come in."""

    phase = EnclavePhase.SHARING
    agreement: Agreement
    secrets: RoundSecrets
    shares: Mapping[int, Taken] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Submitting:
    """Shared is out; masked vectors and complaints come in."""

    phase = EnclavePhase.SUBMITTING
    dealt: Dealt
    secrets: RoundSecrets
    dealings: Mapping[int, Dealing] = field(repr=False)
    sums: BucketSums = field(repr=False)
    submitted: Mapping[int, Submit] = field(default_factory=dict)
    withdrawn: frozenset[int] = frozenset()
    equivocated: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Sketched:
    """Sketches of the frozen vectors: the seed they were asked under, int64 (m,) a node, and the weight lane that each
    node says it encoded."""

    seed: bytes
    values: Mapping[int, NDArray[np.int64]] = field(default_factory=dict, repr=False)
    weights: Mapping[int, int] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Sketching:
    """Freeze is out with a seed; sketches come in. `candidates`: whose vectors may be accepted. `only`: the cohort of
    an earlier verdict on the same model, with its `convictions`, which the verdict must accept whole."""

    phase = EnclavePhase.SKETCHING
    frozen: Frozen
    secrets: RoundSecrets
    dealings: Mapping[int, Dealing] = field(repr=False)
    sums: BucketSums = field(repr=False)
    candidates: frozenset[int]
    sketched: Sketched
    only: frozenset[int] | None = None
    convictions: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Confirming:
    """Freeze and Verdict are out; confirmations come in."""

    phase = EnclavePhase.CONFIRMING
    judged: Judged
    secrets: RoundSecrets
    dealings: Mapping[int, Dealing] = field(repr=False)
    sums: BucketSums = field(repr=False)
    confirmations: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    sketched: Sketched | None = None


@dataclass(frozen=True)
class Unmasking:
    """The request is out; opened shares come in: owner, then holder, then share."""

    phase = EnclavePhase.UNMASKING
    judged: Judged
    secrets: RoundSecrets
    dealings: Mapping[int, Dealing] = field(repr=False)
    sums: BucketSums = field(repr=False)
    opened: Mapping[int, Mapping[int, bytes]] = field(default_factory=dict, repr=False)
    answered: frozenset[int] = frozenset()
    sketched: Sketched | None = None


@dataclass(frozen=True)
class Released:
    """The output and the receipt over it, not yet logged or published. `artifact` goes to the roster alone.

    memory: what the strategy carries into the next round. flagged: buckets beyond what honest nodes send.
    """

    phase = EnclavePhase.RELEASED
    judged: Judged
    artifact: bytes = field(repr=False)
    receipt: Receipt
    memory: Memory = field(default_factory=Memory, repr=False)
    flagged: tuple[GroupTest, ...] = ()


@dataclass(frozen=True)
class Aborted:
    """The attempt is over. `again`: no node confirmed, so a new attempt may leave the culprits out."""

    phase = EnclavePhase.ABORTED
    terms: Terms
    code: Refusal
    culprits: tuple[str, ...]
    again: bool
    proofs: tuple[bytes, ...] = field(default=(), repr=False)
    flagged: tuple[GroupTest, ...] = ()


State = Advertising | Sharing | Submitting | Sketching | Confirming | Unmasking | Released | Aborted


def terms_of(state: State) -> Terms:
    """The terms that an attempt runs under, in any phase."""
    match state:
        case Advertising() | Aborted():
            return state.terms
        case Sharing():
            return state.agreement.terms
        case Submitting():
            return state.dealt.agreement.terms
        case Sketching():
            return state.frozen.dealt.agreement.terms
        case _:
            return state.judged.agreement.terms
