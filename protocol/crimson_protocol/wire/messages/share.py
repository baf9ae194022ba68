"""Round 2, share: the enclave shows all advertisements, a node deals its shares and pair secrets (steps 3 and 4)."""

import hashlib
from dataclasses import dataclass
from typing import Annotated

from crimson_protocol.wire.records import (
    MAX_NODES,
    Bytes,
    BytesUpTo,
    Digest,
    Items,
    Maybe,
    Nested,
    NodeIndex,
    Record,
    UInt,
)

SHARE_BOX = 1200
PAIR_BOX = 1168
MAX_ADVERTISEMENT = 4096


@dataclass(frozen=True)
class Roster(Record):
    """All advertisements of the attempt as their signed envelopes, and the opened graph nonce."""

    offer_digest: Digest
    advertisements: Annotated[tuple[bytes, ...], Items(BytesUpTo(MAX_ADVERTISEMENT), MAX_NODES)]
    graph_nonce: Digest


@dataclass(frozen=True)
class RowLeaf(Record):
    """A row as a leaf of the manifest's tree: boxes by digest, so a row can be shown without them."""

    recipient: NodeIndex
    self_commitment: Annotated[bytes | None, Maybe(Bytes(32))]
    root_commitment: Annotated[bytes | None, Maybe(Bytes(32))]
    pair_commitment: Annotated[bytes | None, Maybe(Bytes(32))]
    share_digest: Annotated[bytes | None, Maybe(Bytes(32))]
    pair_digest: Annotated[bytes | None, Maybe(Bytes(32))]


@dataclass(frozen=True)
class ShareRow(Record):
    """What one dealer has for one recipient.

    The commitments are null where the recipient is a mask neighbour but holds no shares; the boxes are
    null where there is nothing to seal. The dealer's own row has no box: its share stays at home.
    """

    recipient: NodeIndex
    self_commitment: Annotated[bytes | None, Maybe(Bytes(32))]
    root_commitment: Annotated[bytes | None, Maybe(Bytes(32))]
    pair_commitment: Annotated[bytes | None, Maybe(Bytes(32))]
    share_box: Annotated[bytes | None, Maybe(Bytes(SHARE_BOX))]
    pair_box: Annotated[bytes | None, Maybe(Bytes(PAIR_BOX))]

    def leaf(self) -> RowLeaf:
        """The row with its boxes replaced by their SHA-256."""
        return RowLeaf(
            self.recipient,
            self.self_commitment,
            self.root_commitment,
            self.pair_commitment,
            self.share_box and hashlib.sha256(self.share_box).digest(),
            self.pair_box and hashlib.sha256(self.pair_box).digest(),
        )


@dataclass(frozen=True)
class Manifest(Record):
    """A dealer's signed commitment to all its rows: how many, and the root of the tree over their leaves."""

    t0: Digest
    node: NodeIndex
    rows: Annotated[int, UInt(MAX_NODES)]
    rows_root: Digest


@dataclass(frozen=True)
class Share(Record):
    """A dealer's rows under its signed manifest."""

    manifest: Annotated[bytes, BytesUpTo(512)]
    rows: Annotated[tuple[ShareRow, ...], Items(Nested(ShareRow), MAX_NODES, lambda row: row.recipient)]
