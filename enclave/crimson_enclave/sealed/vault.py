"""Sealing and opening: the state under the machine's seal key, artifacts under keys that the state holds.

Bound to the federation's first root, its anchor, and not to the policy or the governors, which change.
"""

import hashlib
from dataclasses import dataclass, field

from crimson_enclave.sealed.record import MAX_STATE, STATE_VERSION, SealedBlob, SealedState, Stored
from crimson_protocol.crypto.labels import SEALED_ARTIFACT, SEALED_STATE
from crimson_protocol.entropy import Entropy
from crimson_protocol.errors import CallerFault, CrimsonError, PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.sealing import SealKey


class Damaged(CrimsonError):
    """What is on disk is not what this enclave wrote last: altered, incomplete, or another enclave's."""


@dataclass(frozen=True)
class Vault:
    """One federation's seal key with the context that everything is bound to."""

    key: SealKey
    anchor: bytes
    entropy: Entropy = field(repr=False)

    def seal_state(self, state: SealedState) -> bytes:
        """The blob's bytes."""
        sealed = self.key.seal(SEALED_STATE, self._context(), state.to_bytes(), self.entropy)
        return SealedBlob(STATE_VERSION, self.anchor, sealed).to_bytes()

    def open_state(self, data: bytes) -> SealedState:
        """The state in a blob. Raises Damaged, and CallerFault(WRONG_CONTEXT) for another federation's."""
        try:
            blob = SealedBlob.from_bytes(data, MAX_STATE)
            if blob.anchor != self.anchor:
                text = f"the state belongs to another federation, of root {blob.anchor.hex()[:16]}"
                raise CallerFault(Refusal.WRONG_CONTEXT, text)
            plain = self.key.open(SEALED_STATE, self._context(), blob.sealed)
            return SealedState.from_bytes(plain, MAX_STATE)
        except PeerFault as fault:
            raise Damaged(
                fault.code,
                "the sealed state does not open: it was altered, or sealed under another key",
            ) from fault

    def seal_artifact(self, model: str, artifact: bytes) -> tuple[Stored, bytes]:
        """The entry for the state, and the file's bytes, which its digest names."""
        key = self.entropy(SealKey.LENGTH)
        context = [*self._context(), model]
        sealed = SealKey(key).seal(SEALED_ARTIFACT, context, artifact, self.entropy)
        return Stored(hashlib.sha256(sealed).digest(), key), sealed

    def open_artifact(self, model: str, stored: Stored, data: bytes) -> bytes:
        """The artifact in a file, or Damaged."""
        try:
            return SealKey(stored.key or b"").open(SEALED_ARTIFACT, [*self._context(), model], data)
        except PeerFault as fault:
            raise Damaged(fault.code, f"the sealed artifact of {model} does not open") from fault

    def _context(self) -> list[object]:
        return [self.anchor]


def plain(data: bytes, key: bytes | None = None) -> Stored:
    """The entry of a file that is no secret: a policy bundle, or a Release, whose artifact is encrypted under `key`."""
    return Stored(hashlib.sha256(data).digest(), key)


def checked(stored: Stored, data: bytes) -> bytes:
    """The file's bytes if they are those that the state names, else Damaged."""
    if hashlib.sha256(data).digest() != stored.digest:
        raise Damaged(Refusal.DIGEST_DIFFERS, "a file beside the sealed state is not the one it names")
    return data
