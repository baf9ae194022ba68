"""Round 5, unmask: the enclave proves that a quorum confirmed, a node opens shares for that verdict (steps 10, 11)."""

from dataclasses import dataclass
from typing import Annotated

from crimson_protocol.wire.records import (
    MAX_NODES,
    Bytes,
    BytesUpTo,
    Digest,
    Items,
    Nested,
    NodeIndex,
    Record,
)


@dataclass(frozen=True)
class UnmaskRequest(Record):
    """The verdict's hash and the signed envelopes of its confirmations."""

    v: Digest
    confirmations: Annotated[tuple[bytes, ...], Items(BytesUpTo(512), MAX_NODES)]


@dataclass(frozen=True)
class Unmask(Record):
    """A node's opened shares, sealed to the round key."""

    v: Digest
    node: NodeIndex
    box: Annotated[bytes, BytesUpTo(1 << 20)]


@dataclass(frozen=True)
class OpenedShare(Record):
    """The holder's share of `owner`'s b (accepted) or R (dropped or rejected); the verdict says which."""

    owner: NodeIndex
    share: Annotated[bytes, Bytes(32)]


@dataclass(frozen=True)
class OpenedShares(Record):
    """Content of an Unmask box."""

    shares: Annotated[
        tuple[OpenedShare, ...], Items(Nested(OpenedShare), MAX_NODES, lambda opened: opened.owner)
    ]
