"""Round 6, release: verify receipt, log and artifact before anything is believed (step 14)."""

import hashlib
from collections.abc import Sequence

from crimson_node.member import Member
from crimson_node.seen import Seen, VerdictReleased
from crimson_node.state import Confirmed, Finished, Opened
from crimson_protocol.crypto.verify import DualPublic
from crimson_protocol.errors import PeerFault
from crimson_protocol.events import SignedCheckpoint
from crimson_protocol.log import leaf_hash, verify_consistency, verify_inclusion
from crimson_protocol.policy.privacy import adjacency
from crimson_protocol.receipt import Receipt, release_event, verify_receipt
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.artifacts import open_artifact
from crimson_protocol.wire.messages.advertise import Checkpoint
from crimson_protocol.wire.messages.release import Release

MAX_CHECKPOINT = 8192


def take_release(
    state: Confirmed | Opened, member: Member, seen: Seen, message: Release
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
    _judge_account(state, seen, receipt)
    # 14.2: it stands in the log that the enclave signed, and that log extends the offer's.
    checkpoint = _logged(message, receipt, state.enclave)
    if checkpoint.size <= offer.checkpoint.size:
        raise PeerFault(Refusal.LOG_WENT_BACK, "the release's checkpoint is not after the offer's", "enclave")
    _extends(offer.checkpoint, checkpoint, message.consistency)
    # 14.3: the artifact is the one the receipt names.
    artifact = open_artifact(message.artifact, receipt, member.index, member.encryption)
    return Finished(offer.model, artifact, message.receipt), _entry(receipt, message, checkpoint)


def adopt(
    member: Member, seen: Seen, enclave: DualPublic, message: Release, consistency: Sequence[bytes]
) -> tuple[Finished, VerdictReleased]:
    """Step 15: a release that this node did not confirm, taken as the model's current artifact.

    `enclave` is the appraised instance's receipt key. `consistency` joins the release's checkpoint and the
    last one seen, the smaller first. Raises PeerFault on the enclave: as `take_release`, and
    ROUND_WENT_BACK for a round that is not after the last verified one.
    """
    receipt = verify_receipt(message.receipt, enclave)
    # 15.1: of this federation, of a model of the policy, under no later policy than this node's.
    policy = member.policy
    known = receipt.federation == policy.federation and receipt.policy_serial <= policy.serial
    if not known or receipt.model not in {rules.model for rules in policy.models}:
        raise PeerFault(Refusal.RECEIPT_REJECTED, "the receipt is of another federation or model", "enclave")
    # 15.2: models only go forward.
    last = seen.released.get(receipt.model)
    if last is not None and receipt.round <= last.round:
        raise PeerFault(Refusal.ROUND_WENT_BACK, f"round {receipt.round} was verified before", "enclave")
    # A round that this node confirmed has one verdict.
    mine = seen.confirmation(receipt.model, receipt.round)
    if mine is not None and mine.v != receipt.v:
        raise PeerFault(
            Refusal.RECEIPT_REJECTED, "the receipt is for another verdict than confirmed", "enclave"
        )
    # 15.3: it stands in a log that is one with all that was seen of it, before or after.
    checkpoint = _logged(message, receipt, enclave)
    if seen.checkpoint is not None:
        older, newer = sorted((seen.checkpoint, checkpoint), key=lambda point: point.size)
        _extends(older, newer, consistency)
    # 15.4: the artifact is the one the receipt names.
    artifact = open_artifact(message.artifact, receipt, member.index, member.encryption)
    return Finished(receipt.model, artifact, message.receipt), _entry(receipt, message, checkpoint)


def reopen(member: Member, seen: Seen, enclave: DualPublic, message: Release) -> Finished:
    """The artifact of the release that was verified last, once more. Raises PeerFault(ROUND_WENT_BACK)."""
    receipt = verify_receipt(message.receipt, enclave)
    last = seen.released.get(receipt.model)
    if last is None or hashlib.sha256(message.receipt).digest() != last.receipt_digest:
        raise PeerFault(Refusal.ROUND_WENT_BACK, "the release is not the last verified one", "enclave")
    artifact = open_artifact(message.artifact, receipt, member.index, member.encryption)
    return Finished(receipt.model, artifact, message.receipt)


def _judge_account(state: Confirmed | Opened, seen: Seen, receipt: Receipt) -> None:
    """14.1b: the receipt's charge is of the policy's kind and within its budget, and its counts are not below what
    this node counted itself: the enclave's ledger was not set back."""
    rules, charge = state.judged.agreement.terms.rules, receipt.privacy
    model, privacy = receipt.model, rules.privacy
    if (charge is None) is not (privacy is None) or receipt.sketched_micro < seen.exposure.get(model, 0):
        raise PeerFault(Refusal.RECEIPT_REJECTED, "the receipt hides what the round cost", "enclave")
    if charge is None or privacy is None:
        return
    within = charge.before_thousandths <= charge.after_thousandths <= privacy.epsilon_thousandths
    told = charge.unit, charge.delta_exponent, charge.adjacency
    if told != (privacy.unit, privacy.delta_exponent, adjacency(privacy)) or not within:
        raise PeerFault(Refusal.RECEIPT_REJECTED, "the receipt's charge is not the policy's", "enclave")
    if charge.releases < seen.charges.get(model, 0):
        raise PeerFault(
            Refusal.RECEIPT_REJECTED, "the enclave's ledger counts less than this node's", "enclave"
        )


def _logged(message: Release, receipt: Receipt, enclave: DualPublic) -> Checkpoint:
    """The signed checkpoint that the release stands under."""
    signed = SignedCheckpoint.from_bytes(message.checkpoint, MAX_CHECKPOINT)
    signed.verify(enclave)
    if signed.federation != receipt.federation:
        raise PeerFault(Refusal.LOG_WENT_BACK, "the checkpoint is of another federation", "enclave")
    leaf = leaf_hash(release_event(receipt, message.receipt).to_bytes())
    size, root = signed.checkpoint.size, signed.checkpoint.root
    try:
        verify_inclusion(leaf, message.leaf_index, size, message.inclusion, root)
    except PeerFault as fault:
        raise PeerFault(Refusal.LOG_WENT_BACK, fault.text, "enclave") from fault
    return signed.checkpoint


def _extends(old: Checkpoint, new: Checkpoint, proof: Sequence[bytes]) -> None:
    try:
        verify_consistency(old.size, old.root, new.size, new.root, proof)
    except PeerFault as fault:
        raise PeerFault(Refusal.LOG_WENT_BACK, fault.text, "enclave") from fault


def _entry(receipt: Receipt, message: Release, checkpoint: Checkpoint) -> VerdictReleased:
    digest = hashlib.sha256(message.receipt).digest()
    charges = receipt.privacy.releases if receipt.privacy else 0
    return VerdictReleased(
        receipt.model, receipt.round, receipt.v, digest, receipt.output_digest, checkpoint, charges
    )


def _told(receipt: Receipt) -> tuple[object, ...]:
    return (
        (receipt.federation, receipt.model, receipt.round, receipt.attempt),
        (receipt.t1, receipt.v, {item.node: item.digest for item in receipt.accepted}),
        (receipt.dropped, receipt.rejected, receipt.closed, receipt.model_digest),
        (receipt.policy_digest, receipt.policy_serial, receipt.claims_digest, receipt.measurement),
        (receipt.simulated, receipt.disclosures),
        (receipt.strategy, receipt.robust_rule, receipt.robust_tolerance),
    )


def _known(state: Confirmed | Opened) -> tuple[object, ...]:
    judged, rules = state.judged, state.judged.agreement.terms.rules
    offer, verdict, digests = judged.agreement.terms.offer, judged.verdict, judged.frozen.digests
    return (
        (offer.federation, offer.model, offer.round, offer.attempt),
        (judged.frozen.dealt.t1, judged.v, {node: digests[node] for node in verdict.accepted}),
        (verdict.dropped, verdict.rejected, verdict.closed, offer.model_digest),
        (offer.policy_digest, offer.policy_serial, offer.claims_digest, offer.measurement),
        (offer.simulated, rules.disclosures),
        (offer.strategy, rules.robust_rule, rules.robust_tolerance),
    )
