"""Round 6, release: open, check, aggregate, write the receipt (step 12). Signing and sealing follow in `publish`."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from crimson_enclave.aggregation.aggregate import Aggregated, aggregate
from crimson_enclave.aggregation.memory import Memory
from crimson_enclave.aggregation.private import draw, hides, noised, on_opened, spares
from crimson_enclave.opening import BadDealer, rebuild, unmask_bucket
from crimson_enclave.rounds.sketch import check_sketches
from crimson_enclave.rounds.unmask import enough
from crimson_enclave.state import Aborted, Released, Spool, Unmasking
from crimson_enclave.totals import (
    BucketFault,
    BucketTotal,
    Totals,
    check_counts,
    check_ranges,
    refuse_faulty,
)
from crimson_protocol.entropy import Entropy
from crimson_protocol.errors import PeerFault
from crimson_protocol.policy.privacy import noise_tail
from crimson_protocol.receipt import Outcome, PrivacyCharge, Receipt
from crimson_protocol.refusal import Refusal
from crimson_protocol.transcript import model_digest
from crimson_protocol.wire.messages.confirm import Submission

CHECKS = {
    "confirmations": Refusal.TOO_FEW_CONFIRMATIONS,
    "share-commitments": Refusal.BAD_COMMITMENT,
    "rebuilt-secrets": Refusal.BAD_DEALER,
    "count-words": Refusal.COUNT_WORDS_DIFFER,
    "range": Refusal.OUT_OF_RANGE,
}
"""What a receipt says to have held in every bucket, and what it is called where it does not."""


@dataclass(frozen=True)
class ReleaseFacts:
    """What the receipt states beyond the attempt itself. `time` in Unix seconds. sketched_micro: exposure of the
    model's updates so far, in millionths."""

    isolated: bool
    previous: bytes
    time: int
    privacy: PrivacyCharge | None = None
    sketched_micro: int = 0


Observer = Callable[[Totals, tuple[int, ...]], None]
"""Sees the opened totals and the accepted nodes. Only a simulation that holds everybody's data passes one."""


def release(
    state: Unmasking,
    base: bytes,
    spool: Spool,
    facts: ReleaseFacts,
    memory: Memory,
    entropy: Entropy,
    observer: Observer | None = None,
) -> Released | Aborted:
    """Steps 12.1 to 12.8: the artifact and its receipt, or the round is lost. There is no second try.

    memory: what the strategy remembers of the round before. The charge is durable before this is called.
    """
    terms = state.judged.agreement.terms
    # 12.1: a threshold of good shares for every secret the verdict opens.
    if not enough(state):
        return Aborted(terms, Refusal.TOO_FEW_SHARES, (), again=False)
    try:
        # 12.1b: noise is drawn before anything is opened.
        noise = draw(terms.rules, [len(nodes) for nodes in _open_buckets(state)], entropy)
        layout, spare = terms.layout, spares(terms.rules)
        opened = check_counts(layout, open_buckets(state, spool))
        if not spare:
            refuse_faulty(opened)
        # 12.6: where noise can come first it does, so that no refusal tells of a sum without it.
        tail = noise_tail(terms.rules.numbers) if on_opened(terms.rules) else 0
        totals = check_ranges(layout, noised(terms.rules, layout, opened, noise), tail)
        if not spare:
            refuse_faulty(totals.buckets)
        if observer is not None:
            observer(Totals(layout, opened), state.judged.verdict.accepted)
        check_sketches(state, totals)
        # 12.7: bounds, robust rule, noise, strategy.
        found = aggregate(terms.rules, terms.offer.strategy, base, memory, totals, noise)
    except BadDealer as fault:
        return Aborted(terms, fault.code, (fault.culprit or "",), again=False, proofs=(fault.proof,))
    except BucketFault as fault:
        # Under noise a range that was asked for before it is not told bucket by bucket.
        told = () if fault.code is Refusal.OUT_OF_RANGE and hides(terms.rules) else fault.flagged
        return Aborted(terms, fault.code, (), again=False, flagged=told)
    except PeerFault as fault:
        return Aborted(terms, fault.code, (fault.culprit,) if fault.culprit else (), again=False)
    return _released(state, found, facts, {bucket.fault for bucket in totals.buckets})


def open_totals(state: Unmasking, spool: Spool) -> Totals:
    """Steps 12.2 to 12.6 without noise: the checked sums of the open buckets."""
    layout = state.judged.agreement.terms.layout
    totals = check_ranges(layout, check_counts(layout, open_buckets(state, spool)))
    refuse_faulty(totals.buckets)
    return totals


def open_buckets(state: Unmasking, spool: Spool) -> list[BucketTotal]:
    """Steps 12.2 to 12.4: the sums of the open buckets, without their masks."""
    rebuilt = rebuild(state)
    opened = []
    for place, nodes in zip(_open_places(state), _open_buckets(state), strict=True):
        unmask_bucket(state, place, rebuilt, spool)
        opened.append(BucketTotal(nodes, state.sums.bucket(place)))
    return opened


def _open_places(state: Unmasking) -> list[int]:
    graph, closed = state.judged.agreement.graph, set(state.judged.verdict.closed)
    return [place for place in range(len(graph.buckets)) if place not in closed]


def _open_buckets(state: Unmasking) -> list[tuple[int, ...]]:
    """The accepted nodes of every open bucket, in the buckets' order."""
    buckets, accepted = state.judged.agreement.graph.buckets, set(state.judged.verdict.accepted)
    return [tuple(node for node in buckets[place] if node in accepted) for place in _open_places(state)]


def _released(
    state: Unmasking, found: Aggregated, facts: ReleaseFacts, spared: AbstractSet[Refusal | None]
) -> Released:
    """12.8: what the release rests on, for every site to keep."""
    judged, artifact = state.judged, found.artifact
    terms, verdict, offer = judged.agreement.terms, judged.verdict, judged.agreement.terms.offer
    receipt = Receipt(
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
        strategy=offer.strategy,
        robust_rule=terms.rules.robust_rule,
        robust_tolerance=terms.rules.robust_tolerance,
        sketched_micro=facts.sketched_micro,
        disclosures=terms.rules.disclosures,
        privacy=facts.privacy,
        # Without a robust rule a release exists only where every one of them held.
        checks=tuple(Outcome(name, CHECKS[name] not in spared) for name in CHECKS),
        previous=facts.previous,
        time=facts.time,
    )
    return Released(judged, artifact, receipt, found.memory, found.flagged)
