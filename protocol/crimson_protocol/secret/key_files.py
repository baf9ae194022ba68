"""Private keys as files hold them: PKCS#8 PEM, one block per algorithm. Bytes in, bytes out; no file is touched."""

from typing import TypeVar

from crimson_protocol.crypto import primitives
from crimson_protocol.errors import CallerFault, PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.keys import SEED_LENGTH, BoxKey, DualKey, IdentityKey, Secret

LAYOUTS: dict[type[Secret], tuple[tuple[str, int], ...]] = {
    IdentityKey: (("ed25519", SEED_LENGTH),),
    DualKey: (("ed25519", SEED_LENGTH), ("mldsa65", SEED_LENGTH)),
    BoxKey: (("mlkem768", primitives.MLKEM_SEED), ("x25519", primitives.X25519_LENGTH)),
}
"""Algorithms and lengths of the parts of a key, in the order of its raw bytes."""

Key = TypeVar("Key", IdentityKey, DualKey, BoxKey)


def to_pem(key: IdentityKey | DualKey | BoxKey) -> bytes:
    """The key's PEM blocks."""
    raw, blocks = key.reveal(), []
    for algorithm, length in LAYOUTS[type(key)]:
        blocks.append(primitives.pem_encode(algorithm, raw[:length]))
        raw = raw[length:]
    return b"".join(blocks)


def from_pem(kind: type[Key], data: bytes) -> Key:
    """The key in a file's bytes. Raises CallerFault(MALFORMED) where they hold another kind of key."""
    try:
        parts = primitives.pem_decode(data)
    except PeerFault as fault:
        raise CallerFault(fault.code, fault.text) from fault
    if tuple((name, len(raw)) for name, raw in parts) != LAYOUTS[kind]:
        raise CallerFault(Refusal.MALFORMED, f"the file does not hold the parts of a {kind.__name__}")
    return kind(b"".join(raw for _, raw in parts))
