"""What node and gateway agree on over HTTPS: covered components, media types, and the few CBOR bodies."""

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from typing import Annotated

from crimson_protocol.wire.envelope import MAX_BODY
from crimson_protocol.wire.records import Bytes, BytesUpTo, Count, Items, Maybe, Name, Nested, Record, Text

CBOR = "application/cbor"
OCTETS = "application/octet-stream"
PROBLEM = "application/problem+json"

COVERED = ("@method", "@authority", "@path", "@query", "content-digest", "content-length")
"""Components under every request's signature (RFC 9421); created, nonce and keyid are its parameters."""
SIGNATURE_LABEL = "crimson"
MAX_SKEW = 300
"""Seconds that a request's `created` may differ from the gateway's clock."""
NONCE_LIFETIME = 2 * MAX_SKEW + 60
"""Seconds that a nonce is remembered: longer than any request counts, which may be signed MAX_SKEW ahead."""
MAX_WAIT = 25
"""Longest long-poll in seconds: below the idle limit of common proxies."""
MAX_MAIL = MAX_BODY + (8 << 20)
GATHERING = "gathering"
"""State of a round that waits for nodes to report ready, before each attempt."""
OVER = ("released", "aborted", "lost")
"""States that a round never leaves."""


@dataclass(frozen=True)
class Letter(Record):
    """One message of the enclave for a node, with its place in the round's mail."""

    sequence: Count
    data: Annotated[bytes, BytesUpTo(MAX_BODY)]


@dataclass(frozen=True)
class Mail(Record):
    """Messages after the sequence number that was asked for, and where the round stands."""

    round_id: Count
    state: Name
    letters: Annotated[tuple[Letter, ...], Items(Nested(Letter), 256)]


@dataclass(frozen=True)
class Call(Record):
    """A round that nodes may join: train on the model's current artifact and report ready."""

    round_id: Count
    model: Name
    round: Count
    state: Name
    code: Annotated[str | None, Maybe(Text(64))]


@dataclass(frozen=True)
class ProofHashes(Record):
    """A consistency proof between two sizes of the log."""

    hashes: Annotated[tuple[bytes, ...], Items(Bytes(32), 64)]


def content_digest(sha256: bytes) -> str:
    """The Content-Digest field value of a body (RFC 9530)."""
    return f"sha-256=:{b64encode(sha256).decode()}:"


def body_digest(body: bytes) -> str:
    """The Content-Digest field value of a body in memory."""
    return content_digest(hashlib.sha256(body).digest())


def key_id(public: bytes) -> str:
    """Key id of an identity key: the first 16 bytes of its SHA-256, in hexadecimal."""
    return hashlib.sha256(public).digest()[:16].hex()
