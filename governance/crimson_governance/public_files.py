"""Public keys as files that people send each other: a few lines of text, or the record itself.

A file of private keys in their place is recognised and refused by name.
"""

import base64
import binascii
import re
import textwrap

from crimson_governance.outcome import BadInput
from crimson_protocol.crypto.verify import DualPublic
from crimson_protocol.errors import PeerFault

BEGIN, END = "-----BEGIN CRIMSON PUBLIC KEYS-----", "-----END CRIMSON PUBLIC KEYS-----"
MAX_PUBLIC = 4096
_ARMOUR = re.compile(rf"\s*{BEGIN}\s+([A-Za-z0-9+/=\s]+?)\s*{END}\s*")


def write_public(public: DualPublic) -> bytes:
    """The text form of an Ed25519 and an ML-DSA-65 public key."""
    lines = textwrap.wrap(base64.b64encode(public.to_bytes()).decode(), 76)
    return "\n".join([BEGIN, *lines, END, ""]).encode()


def read_public(name: str, data: bytes) -> DualPublic:
    """The keys in a file's bytes, in either form. `name` is how errors call the file. Raises BadInput."""
    if b"PRIVATE KEY" in data:
        raise BadInput(
            f"{name} holds a private key",
            "take it out of this folder at once; only the .pub file that was written beside it belongs here",
            "private-key-in-source",
        )
    try:
        match = _ARMOUR.fullmatch(data.decode("ascii"))
        raw = base64.b64decode("".join(match[1].split()), validate=True) if match else data
    except UnicodeDecodeError:
        raw = data
    except (ValueError, binascii.Error):
        raise _no_key(name) from None
    try:
        return DualPublic.from_bytes(raw, MAX_PUBLIC)
    except PeerFault:
        raise _no_key(name) from None


def _no_key(name: str) -> BadInput:
    hint = "give the .pub file that `crimson policy key new` wrote"
    return BadInput(f"{name} does not hold an Ed25519 and an ML-DSA-65 public key", hint, "bad-public-key")
