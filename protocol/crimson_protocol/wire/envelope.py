"""The envelope of every control message: kind, sender, body, one Ed25519 signature over all three."""

from dataclasses import dataclass
from typing import Annotated

from crimson_protocol.crypto.labels import ENVELOPE
from crimson_protocol.crypto.verify import verify_ed25519
from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire import cbor
from crimson_protocol.wire.records import MAX_NODES, BytesUpTo, Maybe, Record, Signature, UInt

MAX_KIND = 63
MAX_BODY = 256 << 20
OVERHEAD = 96
"""Bytes an envelope adds to its body at most."""


@dataclass(frozen=True)
class Envelope(Record):
    """A signed message whose signature has not been checked. `sender` is a roster index, None for the enclave."""

    kind: Annotated[int, UInt(MAX_KIND)]
    sender: Annotated[int | None, Maybe(UInt(MAX_NODES - 1))]
    body: Annotated[bytes, BytesUpTo(MAX_BODY)]
    signature: Signature

    def verify(self, public: bytes, signer: str | None = None) -> None:
        """PeerFault(BAD_SIGNATURE) on `signer` unless the envelope was signed by `public`."""
        verify_ed25519(public, signed_bytes(self.kind, self.sender, self.body), self.signature, signer)

    def checked_kind(self, kind: int) -> "Envelope":
        """Itself, where it is of this kind; else PeerFault(MALFORMED)."""
        if self.kind != kind:
            raise PeerFault(Refusal.MALFORMED, f"an envelope of kind {self.kind} in place of {kind}")
        return self


def signed_bytes(kind: int, sender: int | None, body: bytes) -> bytes:
    """What an envelope's signature covers."""
    return cbor.encode([ENVELOPE, kind, sender, body])
