"""Round 6, release: the enclave publishes the sealed result with its receipt (steps 12 to 14)."""

from dataclasses import dataclass
from typing import Annotated

from crimson_protocol.wire.records import (
    MAX_NODES,
    Bytes,
    BytesUpTo,
    Count,
    Digest,
    Items,
    Name,
    Nested,
    NodeIndex,
    Record,
)

MAX_ARTIFACT = 1 << 28
SEALED_KEY = 1136 + 32


@dataclass(frozen=True)
class KeyBox(Record):
    """The artifact's key, sealed to one node's encryption key."""

    node: NodeIndex
    box: Annotated[bytes, Bytes(SEALED_KEY)]


@dataclass(frozen=True)
class SealedArtifact(Record):
    """A released artifact under a fresh AES-256-GCM key, and that key for every active node."""

    digest: Digest
    nonce: Annotated[bytes, Bytes(12)]
    ciphertext: Annotated[bytes, BytesUpTo(MAX_ARTIFACT)]
    keys: Annotated[tuple[KeyBox, ...], Items(Nested(KeyBox), MAX_NODES, lambda key: key.node)]


@dataclass(frozen=True)
class Release(Record):
    """Sealed result, receipt, and the receipt's place in a log that extends the one the offer rested on."""

    v: Digest
    artifact: Annotated[SealedArtifact, Nested(SealedArtifact)]
    receipt: Annotated[bytes, BytesUpTo(1 << 20)]
    checkpoint: Annotated[bytes, BytesUpTo(8192)]
    leaf_index: Count
    inclusion: Annotated[tuple[bytes, ...], Items(Bytes(32), 64)]
    consistency: Annotated[tuple[bytes, ...], Items(Bytes(32), 64)]


@dataclass(frozen=True)
class Abort(Record):
    """The attempt is over without a result, and why. Whether another follows, the next Offer shows."""

    offer_digest: Digest
    code: Name
