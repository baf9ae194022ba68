"""Round 4, confirm: check the freeze and the verdict, then give the one signature of this round (steps 7, 9)."""

from crimson_node.member import Member
from crimson_node.seen import Seen, VerdictConfirmed
from crimson_node.state import Confirmed, FrozenInputs, Submitted
from crimson_protocol.errors import PeerFault
from crimson_protocol.faults import Attempt, convict
from crimson_protocol.policy.decisions import may_release
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.survivors import Judged, freeze, judge
from crimson_protocol.wire.messages.confirm import Confirm, Freeze, Verdict


def take_freeze(state: Submitted, member: Member, message: Freeze) -> FrozenInputs:
    """Step 7 at the node: what counts as our input is what we sent. Raises PeerFault on the enclave."""
    frozen = freeze(state.dealt, message)
    if frozen.digests.get(member.index, state.digest) != state.digest:
        raise PeerFault(Refusal.DIGEST_DIFFERS, "another vector is frozen in this node's name", "enclave")
    return FrozenInputs(frozen, state.enclave, state.held)


def confirm(
    state: FrozenInputs, member: Member, seen: Seen, verdict: Verdict
) -> tuple[Confirmed, VerdictConfirmed, bytes]:
    """Step 9. The journal entry must be durable before the reply is sent. Raises PeerFault on the enclave."""
    judged = judge(state.frozen, verdict)
    offer = judged.agreement.terms.offer
    # 9.6: one signature for this (federation, model, round), over all attempts.
    if seen.confirmed.get(offer.model, 0) >= offer.round:
        raise PeerFault(Refusal.SECOND_VERDICT, "this round has this node's confirmation already", "enclave")
    # 9.7: an earlier confirmed verdict on the same model, released or not, holds the cohort fixed.
    earlier = seen.bound.get((offer.model, offer.model_digest))
    by_conviction = False
    if earlier is not None:
        by_conviction = _same_survivors(judged, member, earlier)
    # 9.8: the access rules let such a result out. Whoever doubts it does not confirm, so nothing is opened.
    decision = may_release(
        member.policy,
        offer.model,
        round=offer.round,
        accepted=len(verdict.accepted),
        dropped=len(verdict.dropped),
        simulated=offer.simulated,
    )
    if not decision.allowed:
        raise PeerFault(
            Refusal.ACCESS_DENIED, f"the verdict may not be released: {decision.reason}", "enclave"
        )
    entry = VerdictConfirmed(
        model=offer.model,
        round=offer.round,
        v=judged.v,
        model_digest=offer.model_digest,
        accepted=verdict.accepted,
        offer_digest=judged.agreement.terms.offer_digest,
        t0=judged.agreement.t0,
        threshold=judged.agreement.cohort.threshold,
        by_conviction=by_conviction,
    )
    message = Confirm(offer.federation, offer.model, offer.round, member.index, judged.v)
    reply = sign_message(member.identity, member.index, message)
    return Confirmed(judged, state.enclave, state.held), entry, reply


def _same_survivors(judged: Judged, member: Member, earlier: VerdictConfirmed) -> bool:
    """Whether the cohort shrank by convictions; PeerFault(SURVIVORS_CHANGED) where it changed otherwise.

    Two sums over different sets on one model differ by single nodes; so the set stays, or loses, once,
    the nodes that attached fault proofs convict, or the signed policy reopens the round.
    """
    verdict, offer = judged.verdict, judged.agreement.terms.offer
    before, now = set(earlier.accepted), set(verdict.accepted)
    if now == before:
        return earlier.by_conviction
    if member.policy.reopened(offer.model, offer.round, offer.model_digest):
        return False
    attempt = Attempt(earlier.offer_digest, earlier.t0, earlier.threshold)
    convicted = {convict(proof, member.policy, attempt) for proof in verdict.convictions}
    if earlier.by_conviction or not convicted or now != before - convicted:
        raise PeerFault(
            Refusal.SURVIVORS_CHANGED, "the cohort of an earlier verdict on this model changed", "enclave"
        )
    return True
