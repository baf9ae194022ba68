"""Hash commitments to 32-byte random secrets. Their entropy hides them; the label separates them."""

import hashlib

from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.keys import Secret


def commit(label: str, secret: Secret) -> bytes:
    """SHA-256 over label and secret (32 bytes)."""
    return hashlib.sha256(label.encode() + b"\x00" + secret.reveal()).digest()


def check(label: str, secret: Secret, commitment: bytes, code: Refusal, culprit: str | None = None) -> None:
    """PeerFault(code) on `culprit` where the secret is not the one committed to."""
    if commit(label, secret) != commitment:
        raise PeerFault(code, "a secret differs from its commitment", culprit)
