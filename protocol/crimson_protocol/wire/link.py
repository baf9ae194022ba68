"""The link between gateway and enclave: one stream, one frame at a time, sizes refused before a byte is read.

A frame is a u32 length (big-endian), one byte of kind, and that many bytes of body: a record's canonical
CBOR, or raw bytes for `Piece`. The host asks and the enclave answers; while it works, the enclave may ask
back for spooled bytes (`Fetch`), which the host answers with pieces. Nothing here is authenticated: the
host is the untrusted relay, and what matters inside carries its own signature.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from crimson_protocol.errors import PeerFault
from crimson_protocol.events import MAX_EVENT, Reported
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.records import (
    MAX_NODES,
    Bytes,
    BytesUpTo,
    Count,
    Digest,
    Flag,
    Items,
    Maybe,
    Name,
    Nested,
    NodeIndex,
    NodeSet,
    OneOf,
    Record,
    Text,
    UInt,
)

LINK_VERSION = "crimson/link/1"
HEADER = 5
PIECE = 1 << 18
"""Largest piece of a vector, in bytes. An empty piece ends a run of them."""
MAX_CONTROL = 256 << 20
MAX_LEAVES = 512
MAX_REPORTS = 64
IDLE, UNENDORSED, LOST = "Idle", "Unendorsed", "Lost"
"""Phases beside those of an attempt: none was opened yet, too few nodes endorsed, a restart ended it."""


@dataclass(frozen=True)
class Hello(Record):
    """First frame of every connection, and a question for the status at any time."""

    version: Annotated[str, OneOf((LINK_VERSION,))]


@dataclass(frozen=True)
class Attest(Record):
    """Give evidence for a node's challenge."""

    nonce: Digest


@dataclass(frozen=True)
class Open(Record):
    """Start the attempt at this place. The same place again gives the same Offer.

    strategy: one of the alternatives that the policy allows, null for its first choice.
    """

    model: Name
    round: Count
    attempt: Count
    strategy: Annotated[str | None, Maybe(Text(32))] = None


@dataclass(frozen=True)
class Adopt(Record):
    """A newer policy, with the initial artifacts of models that are new in it.

    Refused while a verdict is out: the round in hand ends first. An attempt before that ends, and is tried again.
    """

    bundle: Annotated[bytes, BytesUpTo(MAX_CONTROL)]
    artifacts: Annotated[tuple[bytes, ...], Items(BytesUpTo(MAX_CONTROL), 256)]


@dataclass(frozen=True)
class Tell(Record):
    """What the gateway did, for the log. The status that answers says up to which number it is there."""

    reports: Annotated[
        tuple[Reported, ...], Items(Nested(Reported), MAX_REPORTS, lambda reported: reported.number)
    ]


@dataclass(frozen=True)
class Deliver(Record):
    """A node's signed message; where `length` is not null, pieces of its vector follow."""

    control: Annotated[bytes, BytesUpTo(MAX_CONTROL)]
    length: Annotated[int | None, Maybe(UInt())]


@dataclass(frozen=True)
class Close(Record):
    """The named phase is complete or its time is up. Asked again, the same messages are said again."""

    phase: Name


@dataclass(frozen=True)
class ReadLog(Record):
    """Give leaves of the log from `start` on, at most MAX_LEAVES."""

    start: Count


@dataclass(frozen=True)
class Piece:
    """Raw bytes of a run; not a record."""


@dataclass(frozen=True)
class Place(Record):
    """How far a model has come."""

    model: Name
    round: Count
    attempt: Count


@dataclass(frozen=True)
class Status(Record):
    """Where the enclave stands. `waiting`: nodes whose message of this phase is outstanding (while
    advertising: every active node, so the host waits for those that reported ready).

    `enough`: while confirming and unmasking, that a quorum or a threshold is there already, so that
    nobody's input is lost by closing now. `again`: after an abort, whether another attempt of the same
    round may follow.
    """

    epoch: Count
    instance: Annotated[bytes, Bytes(16)]
    claims_digest: Digest
    phase: Name
    place: Annotated[Place | None, Maybe(Nested(Place))]
    offer_digest: Annotated[bytes | None, Maybe(Bytes(32))]
    waiting: NodeSet
    enough: Annotated[bool, Flag()]
    code: Annotated[str | None, Maybe(Text(64))]
    again: Annotated[bool, Flag()]
    places: Annotated[tuple[Place, ...], Items(Nested(Place), 256)]
    endorsed: NodeSet
    log_size: Count
    policy: Digest
    reports: Count


@dataclass(frozen=True)
class Attested(Record):
    """Signed evidence."""

    evidence: Annotated[bytes, BytesUpTo(1 << 20)]


@dataclass(frozen=True)
class Said(Record):
    """One signed message to relay, to one node or to all."""

    recipient: Annotated[int | None, Maybe(UInt(MAX_NODES - 1))]
    data: Annotated[bytes, BytesUpTo(MAX_CONTROL)]


@dataclass(frozen=True)
class FaultFound(Record):
    """Who broke which rule: a node id, "gateway", or null where nobody can be named."""

    culprit: Annotated[str | None, Maybe(Text(64))]
    code: Name


@dataclass(frozen=True)
class Heard(Record):
    """A delivery was dealt with."""

    faults: Annotated[tuple[FaultFound, ...], Items(Nested(FaultFound), 64)]


@dataclass(frozen=True)
class Leaves(Record):
    """Consecutive log leaves."""

    start: Count
    leaves: Annotated[tuple[bytes, ...], Items(BytesUpTo(MAX_EVENT), MAX_LEAVES)]


@dataclass(frozen=True)
class Fetch(Record):
    """The enclave wants spooled bytes again: a node's vector, or the pair box its Share holds for `recipient`."""

    what: Annotated[str, OneOf(("vector", "pair-box"))]
    node: NodeIndex
    recipient: Annotated[int | None, Maybe(UInt(MAX_NODES - 1))]


@dataclass(frozen=True)
class Refused(Record):
    """The question was not one that can be answered now."""

    code: Name


LinkRecord = type[Record] | type[Piece]

KINDS: dict[int, tuple[LinkRecord, int]] = {
    1: (Hello, 64),
    2: (Attest, 64),
    3: (Open, 192),
    4: (Deliver, MAX_CONTROL + 64),
    5: (Close, 128),
    6: (ReadLog, 64),
    7: (Piece, PIECE),
    8: (Adopt, MAX_CONTROL + 64),
    9: (Tell, 1 << 16),
    17: (Status, 1 << 20),
    18: (Attested, (1 << 20) + 64),
    19: (Said, MAX_CONTROL + 64),
    20: (Heard, 1 << 16),
    21: (Leaves, 1 << 21),
    22: (Fetch, 64),
    23: (Refused, 128),
}
"""Kind, record and the most bytes a body may have. A Deliver is held to its message's own cap as well."""
_KIND_OF = {record: kind for kind, (record, _) in KINDS.items()}


def header(record: LinkRecord, length: int) -> bytes:
    """The five bytes before a body of `length`."""
    return length.to_bytes(4, "big") + bytes([_KIND_OF[record]])


def frame(message: Record) -> bytes:
    """Header and body of a record."""
    body = message.to_bytes()
    return header(type(message), len(body)) + body


def parse_header(data: bytes, limit: Callable[[LinkRecord], int] | None = None) -> tuple[LinkRecord, int]:
    """Record type and body length of five untrusted bytes; `limit` may lower a kind's cap.

    Raises PeerFault(MALFORMED, TOO_LARGE) before anything is read or allocated.
    """
    length, kind = int.from_bytes(data[:4], "big"), data[4]
    if kind not in KINDS:
        raise PeerFault(Refusal.MALFORMED, f"no frame has kind {kind}")
    record, cap = KINDS[kind]
    cap = min(cap, limit(record)) if limit else cap
    if length > cap:
        raise PeerFault(Refusal.TOO_LARGE, f"a frame of kind {kind} has at most {cap} bytes")
    return record, length


def parse_body(record: type[Record], body: bytes) -> Record:
    """The typed body of a frame; PeerFault for anything but its one encoding."""
    return record.from_bytes(body, KINDS[_KIND_OF[record]][1])
