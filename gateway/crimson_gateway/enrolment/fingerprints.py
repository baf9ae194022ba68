"""Fingerprints as operators type them: ten words, or the whole digest in hexadecimal."""

import hashlib
import hmac
import re

from crimson_protocol.crypto.labels import FINGERPRINT
from crimson_protocol.wire import cbor
from crimson_protocol.words import fingerprint


def matches(told: str, identity_key: bytes, encryption_key: bytes) -> bool:
    """Whether what was read out is the fingerprint of these keys, however it was spaced and written."""
    digest = hashlib.sha256(cbor.encode([FINGERPRINT, identity_key, encryption_key])).hexdigest()
    words = re.findall(r"[a-z]+", told.lower())
    typed = re.sub(r"[\s:]", "", told.lower())
    return tuple(words) == fingerprint(identity_key, encryption_key) or _same(typed, digest)


def _same(typed: str, digest: str) -> bool:
    return hmac.compare_digest(typed.encode(), digest.encode())
