"""A released artifact for the roster alone: one fresh AES-256-GCM key, sealed to every active node."""

from contextlib import suppress
from dataclasses import replace

from crimson_protocol.crypto import primitives
from crimson_protocol.crypto.labels import MODEL_BOX
from crimson_protocol.entropy import Entropy
from crimson_protocol.errors import PeerFault
from crimson_protocol.policy.document import Policy
from crimson_protocol.receipt import Receipt
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.keys import BoxKey, Secret
from crimson_protocol.transcript import model_digest
from crimson_protocol.wire import cbor
from crimson_protocol.wire.messages.release import KeyBox, SealedArtifact


def _context(receipt: Receipt) -> list[object]:
    return [MODEL_BOX, receipt.federation, receipt.model, receipt.round, receipt.output_digest]


def seal_artifact(
    policy: Policy, receipt: Receipt, artifact: bytes, key: Secret, entropy: Entropy
) -> SealedArtifact:
    """Encrypt the artifact that `receipt` describes under a fresh key. The gateway stores ciphertext only."""
    nonce, context = entropy(primitives.GCM_NONCE), cbor.encode(_context(receipt))
    ciphertext = primitives.gcm_seal(key.reveal(), nonce, artifact, context)
    return SealedArtifact(receipt.output_digest, nonce, ciphertext, _boxes(policy, receipt, key))


def seal_anew(sealed: SealedArtifact, policy: Policy, receipt: Receipt, key: Secret) -> SealedArtifact:
    """The same ciphertext for another policy's active nodes: who joined since can open it, too."""
    return replace(sealed, keys=_boxes(policy, receipt, key))


def _boxes(policy: Policy, receipt: Receipt, key: Secret) -> tuple[KeyBox, ...]:
    """The key for each active node. One whose roster key nothing can be sealed to gets none: it must not cost the
    others their result."""
    keys, context = [], _context(receipt)
    for node in policy.active():
        public, info = policy.roster[node].encryption_key, cbor.encode([*context, node])
        with suppress(PeerFault):
            keys.append(KeyBox(node, primitives.box_seal(public, info, key.reveal())))
    return tuple(keys)


def open_artifact(sealed: SealedArtifact, receipt: Receipt, node: int, key: BoxKey) -> bytes:
    """The artifact, if it is the one the receipt names. Raises PeerFault(BAD_BOX, MODEL_REJECTED) on the enclave."""
    box = next((entry.box for entry in sealed.keys if entry.node == node), None)
    if box is None:
        raise PeerFault(Refusal.BAD_BOX, "the release holds no key for this node", "enclave")
    context = _context(receipt)
    try:
        content_key = key.open(cbor.encode([*context, node]), box)
        artifact = primitives.gcm_open(content_key, sealed.nonce, sealed.ciphertext, cbor.encode(context))
    except PeerFault as fault:
        raise fault.blamed_on("enclave") from fault
    if sealed.digest != receipt.output_digest or model_digest(artifact) != receipt.output_digest:
        raise PeerFault(Refusal.MODEL_REJECTED, "the artifact is not the one the receipt names", "enclave")
    return artifact
