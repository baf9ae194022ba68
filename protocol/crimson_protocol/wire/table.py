"""The table of messages: kind, who sends it, and how large it may be. Sizes are checked before parsing."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.envelope import OVERHEAD, Envelope
from crimson_protocol.wire.messages.advertise import Advertise, Offer
from crimson_protocol.wire.messages.confirm import MAX_CONVICTIONS, MAX_PROOF, Confirm, Freeze, Verdict
from crimson_protocol.wire.messages.endorse import Endorse
from crimson_protocol.wire.messages.release import MAX_ARTIFACT, Abort, Release
from crimson_protocol.wire.messages.share import Manifest, Roster, Share
from crimson_protocol.wire.messages.sketch import MAX_SKETCH_BOX, Sketch
from crimson_protocol.wire.messages.submit import Complaint, Shared, Submit
from crimson_protocol.wire.messages.unmask import Unmask, UnmaskRequest
from crimson_protocol.wire.records import Record


class Role(Enum):
    """The two parties that speak. The gateway relays and has no messages of its own."""

    ENCLAVE = "enclave"
    NODE = "node"


@dataclass(frozen=True)
class MessageType:
    """One row: `cap(n)` is the most bytes a body may have with n nodes on the roster."""

    kind: int
    record: type[Record]
    sender: Role
    cap: Callable[[int], int]
    inner: bool = False

    @property
    def name(self) -> str:
        return self.record.__name__


def _flat(size: int) -> Callable[[int], int]:
    return lambda _: size


def _per_node(fixed: int, each: int) -> Callable[[int], int]:
    return lambda nodes: fixed + each * nodes


MESSAGES: tuple[MessageType, ...] = (
    MessageType(1, Offer, Role.ENCLAVE, _flat(4096)),
    MessageType(2, Advertise, Role.NODE, _flat(4096)),
    MessageType(3, Roster, Role.ENCLAVE, _per_node(128, 4096)),
    MessageType(4, Manifest, Role.NODE, _flat(256), inner=True),
    MessageType(5, Share, Role.NODE, _per_node(512, 2600)),
    MessageType(6, Shared, Role.ENCLAVE, _per_node(128, 4096)),
    MessageType(7, Complaint, Role.NODE, _flat(512)),
    MessageType(8, Submit, Role.NODE, _flat(256)),
    MessageType(9, Freeze, Role.ENCLAVE, _per_node(192, 48)),
    MessageType(10, Verdict, Role.ENCLAVE, lambda nodes: 16384 + 24 * nodes + MAX_CONVICTIONS * MAX_PROOF),
    MessageType(11, Confirm, Role.NODE, _flat(512)),
    MessageType(12, UnmaskRequest, Role.ENCLAVE, _per_node(128, 512)),
    MessageType(13, Unmask, Role.NODE, _per_node(2048, 64)),
    MessageType(14, Release, Role.ENCLAVE, lambda nodes: MAX_ARTIFACT + (1 << 21) + 1200 * nodes),
    MessageType(15, Abort, Role.ENCLAVE, _flat(256)),
    MessageType(16, Endorse, Role.NODE, _flat(256)),
    MessageType(17, Sketch, Role.NODE, _flat(MAX_SKETCH_BOX + 256)),
)

BY_KIND = {message.kind: message for message in MESSAGES}
BY_RECORD = {message.record: message for message in MESSAGES}


def parse_envelope(data: bytes, sender: Role, nodes: int) -> tuple[Envelope, MessageType]:
    """An envelope from `sender`, by kind and cap; the signature and the body are not yet checked.

    Raises PeerFault(TOO_LARGE, MALFORMED, NOT_CANONICAL) for bytes that are no message of that sender.
    """
    largest = max(message.cap(nodes) for message in MESSAGES if message.sender is sender)
    envelope = Envelope.from_bytes(data, largest + OVERHEAD)
    message = BY_KIND.get(envelope.kind)
    if message is None or message.sender is not sender or message.inner:
        raise PeerFault(Refusal.MALFORMED, f"kind {envelope.kind} is not a message of the {sender.value}")
    if len(envelope.body) > message.cap(nodes):
        raise PeerFault(Refusal.TOO_LARGE, f"{message.name} is larger than {message.cap(nodes)} bytes")
    if (envelope.sender is None) is not (sender is Role.ENCLAVE):
        raise PeerFault(Refusal.MALFORMED, "the envelope's sender does not fit its kind")
    return envelope, message


def parse_body(envelope: Envelope, message: MessageType, nodes: int) -> Record:
    """The typed body of an envelope whose signature was checked."""
    return message.record.from_bytes(envelope.body, message.cap(nodes))
