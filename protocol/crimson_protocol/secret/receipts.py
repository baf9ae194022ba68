"""Signing of receipts and checkpoints with an enclave's dual key."""

from crimson_protocol import cose
from crimson_protocol.crypto.primitives import mldsa65_sign
from crimson_protocol.events import SignedCheckpoint, checkpoint_bytes
from crimson_protocol.receipt import AAD, Receipt, SignedReceipt
from crimson_protocol.secret.keys import SEED_LENGTH, DualKey
from crimson_protocol.wire.messages.advertise import Checkpoint


def sign_receipt(key: DualKey, receipt: Receipt) -> bytes:
    """Both COSE_Sign1 messages over the receipt, encoded."""
    payload = receipt.to_bytes()
    eddsa, mldsa = (cose.protected_header(alg) for alg in (cose.Algorithm.EDDSA, cose.Algorithm.ML_DSA_65))
    first = key.round_signer.sign(cose.sig_structure(eddsa, AAD, payload))
    second = mldsa65_sign(key.reveal()[SEED_LENGTH:], cose.sig_structure(mldsa, AAD, payload))
    return SignedReceipt(cose.build(eddsa, payload, first), cose.build(mldsa, None, second)).to_bytes()


def sign_checkpoint(key: DualKey, federation: str, checkpoint: Checkpoint, time: int) -> SignedCheckpoint:
    """A checkpoint of the log at `time` (Unix seconds)."""
    signature = key.sign(checkpoint_bytes(federation, checkpoint, time))
    return SignedCheckpoint(federation, checkpoint, time, signature)
