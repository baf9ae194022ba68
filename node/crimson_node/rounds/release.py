"""Round 6, release: verify receipt, log and artifact before anything is believed (step 14)."""

import hashlib

from crimson_node.member import Member
from crimson_node.seen import VerdictReleased
from crimson_node.state import Confirmed, Finished, Opened
from crimson_protocol.errors import PeerFault
from crimson_protocol.events import SignedCheckpoint
from crimson_protocol.log import leaf_hash, verify_consistency, verify_inclusion
from crimson_protocol.receipt import Receipt, release_event, verify_receipt
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.artifacts import open_artifact
from crimson_protocol.wire.messages.release import Release

MAX_CHECKPOINT = 8192


def take_release(
    state: Confirmed | Opened, member: Member, message: Release
) -> tuple[Finished, VerdictReleased]:
    """Step 14. Raises PeerFault on the enclave: WRONG_CONTEXT, RECEIPT_REJECTED, BAD_SIGNATURE, LOG_WENT_BACK,
    MODEL_REJECTED."""
    judged = state.judged
    offer = judged.agreement.terms.offer
    # 14.1: a receipt of the appraised enclave, for the verdict that we confirmed.
    if message.v != judged.v:
        raise PeerFault(Refusal.WRONG_CONTEXT, "the release is of another verdict", "enclave")
    receipt = verify_receipt(message.receipt, state.enclave)
    if _told(receipt) != _known(state):
        raise PeerFault(
            Refusal.RECEIPT_REJECTED, "the receipt tells another round than this node saw", "enclave"
        )
    # 14.2: it stands in the log that the enclave signed, and that log extends the offer's.
    signed = SignedCheckpoint.from_bytes(message.checkpoint, MAX_CHECKPOINT)
    signed.verify(state.enclave)
    if signed.federation != offer.federation or signed.checkpoint.size <= offer.checkpoint.size:
        raise PeerFault(Refusal.LOG_WENT_BACK, "the release's checkpoint is not after the offer's", "enclave")
    leaf = leaf_hash(release_event(receipt, message.receipt).to_bytes())
    size, root = signed.checkpoint.size, signed.checkpoint.root
    try:
        verify_inclusion(leaf, message.leaf_index, size, message.inclusion, root)
        old = offer.checkpoint
        verify_consistency(old.size, old.root, size, root, message.consistency)
    except PeerFault as fault:
        raise PeerFault(Refusal.LOG_WENT_BACK, fault.text, "enclave") from fault
    # 14.3: the artifact is the one the receipt names.
    artifact = open_artifact(message.artifact, receipt, member.index, member.encryption)
    digest = hashlib.sha256(message.receipt).digest()
    entry = VerdictReleased(offer.model, offer.round, judged.v, digest, signed.checkpoint)
    return Finished(offer.model, artifact, message.receipt), entry


def _told(receipt: Receipt) -> tuple[object, ...]:
    return (
        (receipt.federation, receipt.model, receipt.round, receipt.attempt),
        (receipt.t1, receipt.v, {item.node: item.digest for item in receipt.accepted}),
        (receipt.dropped, receipt.rejected, receipt.closed, receipt.model_digest),
        (receipt.policy_digest, receipt.policy_serial, receipt.claims_digest, receipt.measurement),
        (receipt.simulated, receipt.disclosures),
    )


def _known(state: Confirmed | Opened) -> tuple[object, ...]:
    judged = state.judged
    offer, verdict, digests = judged.agreement.terms.offer, judged.verdict, judged.frozen.digests
    return (
        (offer.federation, offer.model, offer.round, offer.attempt),
        (judged.frozen.dealt.t1, judged.v, {node: digests[node] for node in verdict.accepted}),
        (verdict.dropped, verdict.rejected, verdict.closed, offer.model_digest),
        (offer.policy_digest, offer.policy_serial, offer.claims_digest, offer.measurement),
        (offer.simulated, judged.agreement.terms.rules.disclosures),
    )
