"""What the enclave's append-only log holds, and the checkpoints it signs over it. No data values, ever."""

from dataclasses import dataclass
from typing import Annotated

from crimson_protocol.crypto.labels import CHECKPOINT
from crimson_protocol.crypto.verify import DualPublic, DualSignature, verify_dual
from crimson_protocol.wire import cbor
from crimson_protocol.wire.messages.advertise import Checkpoint
from crimson_protocol.wire.records import Bytes, Count, Flag, Items, Maybe, Name, Nested, OneOf, Record, Text

EVENT_KINDS = (
    "boot",
    "policy",
    "node",
    "decision",
    "reported",
    "offer",
    "roster",
    "shared",
    "frozen",
    "verdict",
    "unmasking",
    "release",
    "abort",
    "fault",
    "charge",
    "flag",
)
MAX_EVENT = 2048
REPORTS = (
    "invitation-issued",
    "invitation-revoked",
    "node-requested",
    "node-approved",
    "node-refused",
    "node-suspended",
    "node-resumed",
    "node-revoked",
    "key-rotation-requested",
    "node-left",
    "policy-refused",
    "round-ordered",
    "round-refused",
    "export-allowed",
    "export-refused",
)
"""What the gateway says that it did. The log keeps such claims apart from what the enclave saw itself."""


@dataclass(frozen=True)
class Decided(Record):
    """An access decision, with the @id of every policy that determined it."""

    action: Name
    principal: Name
    resource: Name
    allowed: Annotated[bool, Flag()]
    policies: Annotated[tuple[str, ...], Items(Text(64), 8)]


@dataclass(frozen=True)
class Reported(Record):
    """What the gateway reports: who (`actor`) did what to whom, when by its clock, and the deciding rule or code.

    `number` grows from report to report, so that each is logged once however often it is told.
    """

    number: Count
    what: Annotated[str, OneOf(REPORTS)]
    subject: Annotated[str, Text(128)]
    actor: Annotated[str | None, Maybe(Text(64))]
    time: Count
    code: Annotated[str | None, Maybe(Text(200))]


@dataclass(frozen=True)
class Event(Record):
    """One decision. `digest` is that of the document the event stands for (message, receipt, policy).

    An event "node" names the node as `culprit` and its new standing as `code`.
    """

    kind: Annotated[str, OneOf(EVENT_KINDS)]
    time: Count
    model: Annotated[str | None, Maybe(Text(64))]
    round: Count
    attempt: Count
    digest: Annotated[bytes | None, Maybe(Bytes(32))]
    culprit: Annotated[str | None, Maybe(Text(64))]
    code: Annotated[str | None, Maybe(Text(64))]
    decided: Annotated[Decided | None, Maybe(Nested(Decided))] = None
    reported: Annotated[Reported | None, Maybe(Nested(Reported))] = None


@dataclass(frozen=True)
class SignedCheckpoint(Record):
    """Size and root of a federation's log at a time, signed by the enclave's receipt key."""

    federation: Name
    checkpoint: Annotated[Checkpoint, Nested(Checkpoint)]
    time: Count
    signature: Annotated[DualSignature, Nested(DualSignature)]

    def verify(self, key: DualPublic) -> None:
        """PeerFault(BAD_SIGNATURE) on the enclave unless both signatures hold."""
        message = checkpoint_bytes(self.federation, self.checkpoint, self.time)
        verify_dual(key, message, self.signature, "enclave")


def checkpoint_bytes(federation: str, checkpoint: Checkpoint, time: int) -> bytes:
    """What a checkpoint's signatures cover."""
    return cbor.encode([CHECKPOINT, federation, checkpoint.to_plain(), time])
