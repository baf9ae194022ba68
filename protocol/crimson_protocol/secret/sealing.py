"""Data at rest: AES-256-GCM under a key that is derived for one sealing and used once."""

from collections.abc import Sequence

from crimson_protocol.crypto import primitives
from crimson_protocol.crypto.labels import SEAL_KEY
from crimson_protocol.entropy import Entropy
from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.keys import Secret
from crimson_protocol.wire import cbor

SALT = 32
OVERHEAD = SALT + primitives.GCM_TAG
"""Bytes that sealing adds."""
# A derived key seals once, so the nonce never varies.
_NONCE = bytes(primitives.GCM_NONCE)


class SealKey(Secret):
    """Seals and opens; `label` and `context` say for what, and bytes sealed for one thing open as no other."""

    def seal(self, label: str, context: Sequence[object], plaintext: bytes, entropy: Entropy) -> bytes:
        """Salt, then ciphertext and tag."""
        salt = entropy(SALT)
        return salt + primitives.gcm_seal(
            self._derived(label, context, salt), _NONCE, plaintext, _bound(label, context)
        )

    def open(self, label: str, context: Sequence[object], sealed: bytes) -> bytes:
        """Reverse of `seal`, or PeerFault(BAD_BOX) for other bytes, another key or another context."""
        if len(sealed) < OVERHEAD:
            raise PeerFault(Refusal.BAD_BOX, "too short to have been sealed")
        key = self._derived(label, context, sealed[:SALT])
        return primitives.gcm_open(key, _NONCE, sealed[SALT:], _bound(label, context))

    def _derived(self, label: str, context: Sequence[object], salt: bytes) -> bytes:
        return primitives.hkdf(self.reveal(), salt, cbor.encode([SEAL_KEY, label, *context]))


def _bound(label: str, context: Sequence[object]) -> bytes:
    return cbor.encode([label, *context])
