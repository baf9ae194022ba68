"""What the service must know of a message before the agent verifies it: whose proof of the log to fetch."""

from contextlib import suppress

from crimson_protocol.errors import PeerFault
from crimson_protocol.events import SignedCheckpoint
from crimson_protocol.wire.envelope import MAX_BODY, Envelope
from crimson_protocol.wire.messages.advertise import Offer
from crimson_protocol.wire.messages.release import Release
from crimson_protocol.wire.records import Record
from crimson_protocol.wire.table import BY_KIND, Role, parse_body, parse_envelope

MAX_CHECKPOINT = 8192


def unverified(data: bytes, nodes: int) -> Record | None:
    """The enclave's message in these bytes, with no signature checked; None where they do not parse."""
    with suppress(PeerFault):
        envelope, kind = parse_envelope(data, Role.ENCLAVE, nodes)
        return parse_body(envelope, kind, nodes)
    return None


def own_kind(envelope: bytes) -> str:
    """Name of the message that this node made."""
    return BY_KIND[Envelope.from_bytes(envelope, MAX_BODY).kind].name


def unverified_log_size(message: Record | None) -> int:
    """Size of the log that an Offer or a Release rests on, as it says; 0 for anything else."""
    with suppress(PeerFault):
        match message:
            case Offer():
                return message.checkpoint.size
            case Release():
                return SignedCheckpoint.from_bytes(message.checkpoint, MAX_CHECKPOINT).checkpoint.size
    return 0
