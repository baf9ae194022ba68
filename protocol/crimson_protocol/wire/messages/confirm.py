"""Round 4, confirm: the enclave freezes inputs and says its verdict, a node signs one verdict (steps 7 to 9)."""

from dataclasses import dataclass
from typing import Annotated

from crimson_protocol.wire.records import (
    MAX_NODES,
    Bytes,
    BytesUpTo,
    Count,
    Digest,
    Items,
    Maybe,
    Name,
    Nested,
    NodeIndex,
    NodeSet,
    Record,
    UInt,
    itself,
)

MAX_PROOF = 1 << 18
MAX_CONVICTIONS = 8


@dataclass(frozen=True)
class Submission(Record):
    """A node whose vector arrived whole, and the vector's SHA-256."""

    node: NodeIndex
    digest: Digest


@dataclass(frozen=True)
class Freeze(Record):
    """Who submitted what. After it no input is taken. `sketch_seed`: where the policy wants a sketch this round."""

    t1: Digest
    submissions: Annotated[
        tuple[Submission, ...], Items(Nested(Submission), MAX_NODES, lambda submission: submission.node)
    ]
    sketch_seed: Annotated[bytes | None, Maybe(Bytes(32))] = None


@dataclass(frozen=True)
class Verdict(Record):
    """How every node of the shared set ends, and which buckets stay closed.

    `convictions` are fault proofs; they matter only where an earlier verdict on the same model was confirmed and
    never released.
    """

    t2: Digest
    accepted: NodeSet
    dropped: NodeSet
    rejected: NodeSet
    closed: Annotated[tuple[int, ...], Items(UInt(MAX_NODES), MAX_NODES, itself)]
    convictions: Annotated[tuple[bytes, ...], Items(BytesUpTo(MAX_PROOF), MAX_CONVICTIONS)]


@dataclass(frozen=True)
class Confirm(Record):
    """A node's one signature for a round of a model, over all attempts: it names no attempt on purpose."""

    federation: Name
    model: Name
    round: Count
    node: NodeIndex
    v: Digest
