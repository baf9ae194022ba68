"""Round 1, advertise: judge an offer before anything leaves, then send this attempt's keys (step 2)."""

from collections.abc import Sequence

from crimson_node.member import Member
from crimson_node.seen import OfferSeen, Seen
from crimson_node.state import Advertised, AttemptSecrets, Ready
from crimson_protocol.agreement import Terms, offer_digest
from crimson_protocol.crypto.labels import ROOT_COMMITMENT, SELF_COMMITMENT
from crimson_protocol.entropy import Entropy
from crimson_protocol.errors import CallerFault, PeerFault
from crimson_protocol.evidence.validate import Appraisal
from crimson_protocol.exposure import EXPOSURE_LIMIT_MICRO, exposure_micro, sketched_round
from crimson_protocol.log import verify_consistency
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.commitments import commit
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.secret.keys import BoxKey, RoundRoot, Secret
from crimson_protocol.wire.messages.advertise import Advertise, Offer


def advertise(
    ready: Ready,
    member: Member,
    seen: Seen,
    offer: Offer,
    envelope: bytes,
    consistency: Sequence[bytes],
    entropy: Entropy,
    now: int,
) -> tuple[Advertised, OfferSeen, bytes]:
    """Step 2. Gives the next state, the journal entry that must be durable first, and the reply.

    The offer's signature was checked against the appraised enclave. `consistency` proves that the
    offer's checkpoint extends the last one seen. Raises PeerFault on the enclave.
    """
    _judge_enclave(ready.appraisal, seen, offer, now)
    _judge_policy(member, seen, offer, now)
    _judge_update(ready, member, seen, offer)
    _judge_place(seen, offer, consistency)
    _judge_account(member, seen, offer)
    secrets = AttemptSecrets(RoundRoot.fresh(entropy), Secret.fresh(entropy), BoxKey.fresh(entropy))
    digest = offer_digest(envelope)
    message = Advertise(
        offer_digest=digest,
        node=member.index,
        mask_key=secrets.root.mask_key().public,
        share_key=secrets.share_key.public,
        root_commitment=commit(ROOT_COMMITMENT, secrets.root),
        self_commitment=commit(SELF_COMMITMENT, secrets.seed),
    )
    reply = sign_message(member.identity, member.index, message)
    terms = Terms(member.policy, member.policy.rules(offer.model), offer, digest)
    state = Advertised(ready.update, terms, ready.appraisal.receipt_key, secrets, reply)
    return state, OfferSeen(offer.model, offer.round, offer.attempt, offer.checkpoint), reply


def _judge_enclave(appraisal: Appraisal, seen: Seen, offer: Offer, now: int) -> None:
    # 2.1: the appraisal still counts, and the offer is of the very instance that was appraised.
    if now >= appraisal.expires:
        raise PeerFault(Refusal.EXPIRED, "the enclave's evidence has expired", "enclave")
    claimed = (offer.claims_digest, offer.measurement, offer.simulated)
    if claimed != (appraisal.claims_digest, appraisal.measurement, appraisal.simulated):
        raise PeerFault(
            Refusal.EVIDENCE_REJECTED, "the offer names other claims than the evidence", "enclave"
        )
    # 2.7: and this node vouched for that instance.
    if seen.endorsed != (appraisal.epoch, appraisal.claims_digest):
        raise PeerFault(Refusal.SECOND_INSTANCE, "this node did not endorse the instance", "enclave")


def _judge_policy(member: Member, seen: Seen, offer: Offer, now: int) -> None:
    policy = member.policy
    if now >= policy.expires:
        raise PeerFault(Refusal.EXPIRED, f"policy {policy.serial} has expired", "enclave")
    # 2.2: never back to an earlier policy, and exactly the one this node verified.
    if offer.policy_serial < max(seen.policy_serial, policy.serial):
        raise PeerFault(
            Refusal.POLICY_WENT_BACK, f"the offer follows policy {offer.policy_serial}", "enclave"
        )
    if (offer.policy_serial, offer.policy_digest) != (policy.serial, policy.digest()):
        raise PeerFault(
            Refusal.POLICY_REJECTED, "the offer follows a policy this node has not verified", "enclave"
        )
    if offer.federation != policy.federation:
        raise PeerFault(Refusal.WRONG_CONTEXT, "the offer is of another federation", "enclave")
    # 2.3: every number is the policy's.
    if offer.model not in {rules.model for rules in policy.models}:
        raise PeerFault(Refusal.MODEL_REJECTED, "the policy lists no such model", "enclave")
    rules = policy.rules(offer.model)
    if offer.numbers != rules.numbers:
        raise PeerFault(Refusal.NUMBERS_DIFFER, "the offer's numbers are not the policy's", "enclave")
    if offer.strategy not in {rules.strategy, *rules.alternatives}:
        raise PeerFault(Refusal.NUMBERS_DIFFER, "the policy does not allow the offered strategy", "enclave")


def _judge_update(ready: Ready, member: Member, seen: Seen, offer: Offer) -> None:
    update, numbers = ready.update, offer.numbers
    # 2.4: the node trained on this very model; another one would isolate it.
    if (update.model, update.model_digest) != (offer.model, offer.model_digest):
        raise PeerFault(
            Refusal.MODEL_REJECTED, "the offer names another model than this node trained on", "enclave"
        )
    # 2.8: which descends from the policy's initial artifact by releases that this node verified.
    if offer.model_digest != seen.base_digest(member.policy, offer.model):
        raise PeerFault(
            Refusal.MODEL_REJECTED, "the offered model is not the last verified release", "enclave"
        )
    if update.parameters.shape != (numbers.parameters,) or len(update.counters) != numbers.counters:
        raise CallerFault(Refusal.WRONG_LENGTH, "the update does not fit the model's layout")
    if not 0 <= update.weight <= numbers.weight_cap:
        raise CallerFault(Refusal.OUT_OF_RANGE, "the update's weight exceeds the policy's cap")
    if numbers.steps_cap and not 1 <= update.steps <= numbers.steps_cap:
        raise CallerFault(Refusal.OUT_OF_RANGE, "the update took more steps than the policy allows, or none")


def _judge_account(member: Member, seen: Seen, offer: Offer) -> None:
    """What this node counts itself: an enclave that lost its ledger spends nothing here a second time."""
    rules = member.policy.rules(offer.model)
    # 2.10: the budget affords one more release.
    if rules.privacy is not None and seen.charges.get(offer.model, 0) >= rules.privacy.releases:
        raise PeerFault(Refusal.BUDGET_EXHAUSTED, "every release of the privacy budget is spent", "enclave")
    # 2.11: and sketches have room for one more.
    shown = seen.exposure.get(offer.model, 0)
    if sketched_round(rules, offer.round) and shown + exposure_micro(rules) > EXPOSURE_LIMIT_MICRO:
        raise PeerFault(Refusal.EXPOSURE_EXCEEDED, f"sketches have shown {shown / 1e6:.3f} of it", "enclave")


def _judge_place(seen: Seen, offer: Offer, consistency: Sequence[bytes]) -> None:
    # 2.5: rounds and attempts only go forward, and nothing follows a confirmed attempt of the same round.
    if offer.round <= seen.confirmed.get(offer.model, 0):
        raise PeerFault(Refusal.AFTER_CONFIRM, "this round was confirmed in another attempt", "enclave")
    if (offer.round, offer.attempt) <= seen.places.get(offer.model, (0, 0)):
        raise PeerFault(Refusal.ROUND_WENT_BACK, "this attempt or a later one was seen before", "enclave")
    # 2.6: the log the offer rests on extends the one seen last.
    if seen.checkpoint is not None:
        old, new = seen.checkpoint, offer.checkpoint
        try:
            verify_consistency(old.size, old.root, new.size, new.root, consistency)
        except PeerFault as fault:
            raise PeerFault(Refusal.LOG_WENT_BACK, fault.text, "enclave") from fault
