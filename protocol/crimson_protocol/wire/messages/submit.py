"""Round 3, submit: the enclave fixes who shared, a node sends its masked vector or complains (steps 5 and 6)."""

from dataclasses import dataclass
from typing import Annotated

from crimson_protocol.wire.messages.share import ShareRow
from crimson_protocol.wire.records import (
    MAX_NODES,
    Bytes,
    BytesUpTo,
    Count,
    Digest,
    Items,
    Maybe,
    Nested,
    NodeIndex,
    OneOf,
    Record,
)

COMPLAINTS = ("manifest", "share-box", "share-commitment", "pair-box")


@dataclass(frozen=True)
class Dealer(Record):
    """One node that completed Share, with the root of its manifest."""

    node: NodeIndex
    rows_root: Digest


@dataclass(frozen=True)
class Delivery(Record):
    """One dealer's row for the recipient, provable under the dealer's signed manifest."""

    dealer: NodeIndex
    manifest: Annotated[bytes, BytesUpTo(512)]
    row: Annotated[ShareRow, Nested(ShareRow)]
    path: Annotated[tuple[bytes, ...], Items(Bytes(32), 16)]


@dataclass(frozen=True)
class Shared(Record):
    """The set that completed Share, the same for all, and the deliveries for one recipient."""

    t0: Digest
    dealers: Annotated[tuple[Dealer, ...], Items(Nested(Dealer), MAX_NODES, lambda dealer: dealer.node)]
    deliveries: Annotated[
        tuple[Delivery, ...], Items(Nested(Delivery), MAX_NODES, lambda delivery: delivery.dealer)
    ]


@dataclass(frozen=True)
class Complaint(Record):
    """A node withdraws and says why. For a bad pair box it reveals its attempt's mask key (96-byte seed)."""

    t1: Digest
    node: NodeIndex
    dealer: NodeIndex
    reason: Annotated[str, OneOf(COMPLAINTS)]
    mask_key: Annotated[bytes | None, Maybe(Bytes(96))]


@dataclass(frozen=True)
class Submit(Record):
    """Header of the masked vector, which follows as raw packed bytes of exactly `length`."""

    t1: Digest
    node: NodeIndex
    digest: Digest
    length: Count
