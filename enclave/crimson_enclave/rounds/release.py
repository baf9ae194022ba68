"""Round 6, release: open, check, aggregate, write the receipt (step 12). Signing and sealing follow in `publish`."""

from collections.abc import Callable
from dataclasses import dataclass

from crimson_enclave.opening import BadDealer, rebuild, unmask_bucket
from crimson_enclave.rounds.unmask import enough
from crimson_enclave.state import Aborted, Released, Spool, Unmasking
from crimson_enclave.strategies import aggregate
from crimson_enclave.totals import BucketTotal, Totals, check_totals
from crimson_protocol.errors import PeerFault
from crimson_protocol.receipt import Outcome, Receipt
from crimson_protocol.refusal import Refusal
from crimson_protocol.transcript import model_digest
from crimson_protocol.wire.messages.confirm import Submission

CHECKS = ("confirmations", "share-commitments", "rebuilt-secrets", "count-words", "range")


@dataclass(frozen=True)
class ReleaseFacts:
    """What the receipt states beyond the attempt itself. `time` in Unix seconds."""

    isolated: bool
    previous: bytes
    time: int


Observer = Callable[[Totals, tuple[int, ...]], None]
"""Sees the opened totals and the accepted nodes. Only a simulation that holds everybody's data passes one."""


def release(
    state: Unmasking, base: bytes, spool: Spool, facts: ReleaseFacts, observer: Observer | None = None
) -> Released | Aborted:
    """Steps 12.1 to 12.8: the artifact and its receipt, or the round is lost. There is no second try."""
    terms = state.judged.agreement.terms
    # 12.1: a threshold of good shares for every secret the verdict opens.
    if not enough(state):
        return Aborted(terms, Refusal.TOO_FEW_SHARES, (), again=False)
    try:
        totals = open_totals(state, spool)
    except BadDealer as fault:
        return Aborted(terms, fault.code, (fault.culprit or "",), again=False, proofs=(fault.proof,))
    except PeerFault as fault:
        return Aborted(terms, fault.code, (fault.culprit,) if fault.culprit else (), again=False)
    if observer is not None:
        observer(totals, state.judged.verdict.accepted)
    # 12.7: the strategy.
    artifact = aggregate(terms.rules, base, totals).to_bytes()
    return Released(state.judged, artifact, _receipt(state, artifact, facts))


def open_totals(state: Unmasking, spool: Spool) -> Totals:
    """Steps 12.2 to 12.6: the checked sums of the open buckets."""
    verdict, agreement = state.judged.verdict, state.judged.agreement
    rebuilt = rebuild(state)
    opened = []
    for place, bucket in enumerate(agreement.graph.buckets):
        if place not in verdict.closed:
            unmask_bucket(state, place, rebuilt, spool)
            accepted = len(set(bucket) & set(verdict.accepted))
            opened.append(BucketTotal(accepted, state.sums.bucket(place)))
    return check_totals(agreement.terms.layout, opened)


def _receipt(state: Unmasking, artifact: bytes, facts: ReleaseFacts) -> Receipt:
    """12.8: what the release rests on, for every site to keep."""
    judged = state.judged
    terms, verdict, offer = judged.agreement.terms, judged.verdict, judged.agreement.terms.offer
    return Receipt(
        federation=offer.federation,
        model=offer.model,
        round=offer.round,
        attempt=offer.attempt,
        t1=judged.frozen.dealt.t1,
        v=judged.v,
        accepted=tuple(Submission(node, judged.frozen.digests[node]) for node in verdict.accepted),
        dropped=verdict.dropped,
        rejected=verdict.rejected,
        closed=verdict.closed,
        model_digest=offer.model_digest,
        output_digest=model_digest(artifact),
        policy_digest=offer.policy_digest,
        policy_serial=offer.policy_serial,
        claims_digest=offer.claims_digest,
        measurement=offer.measurement,
        simulated=offer.simulated,
        isolated=facts.isolated,
        disclosures=terms.rules.disclosures,
        privacy=None,
        # A release exists only where every one of them held; a failed check has no receipt but an abort.
        checks=tuple(Outcome(name, True) for name in CHECKS),
        previous=facts.previous,
        time=facts.time,
    )
