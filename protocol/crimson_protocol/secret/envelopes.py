"""Signing of control messages."""

from crimson_protocol.secret.keys import IdentityKey
from crimson_protocol.wire.envelope import Envelope, signed_bytes
from crimson_protocol.wire.records import Record
from crimson_protocol.wire.table import BY_RECORD


def sign_message(key: IdentityKey, sender: int | None, message: Record) -> bytes:
    """The signed envelope of `message`; `sender` is a roster index, None for the enclave."""
    kind, body = BY_RECORD[type(message)].kind, message.to_bytes()
    return Envelope(kind, sender, body, key.sign(signed_bytes(kind, sender, body))).to_bytes()
