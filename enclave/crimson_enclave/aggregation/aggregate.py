"""From checked totals to the released artifact: the one function that every strategy goes through (step 12.7)."""

from dataclasses import dataclass, field

import numpy as np

from crimson_enclave.aggregation.memory import Memory, Vector
from crimson_enclave.aggregation.optimisers import step
from crimson_enclave.aggregation.private import Noise, hides, noisy_mean, on_opened
from crimson_enclave.aggregation.values import UNFILTERED, BucketMean, bounded, bucket_means
from crimson_enclave.robust.rules import combine
from crimson_enclave.totals import BucketFault, Totals
from crimson_protocol.artifact import MAX_ARTIFACT, Artifact
from crimson_protocol.errors import CallerFault, PeerFault
from crimson_protocol.policy.document import MICRO, ModelRules
from crimson_protocol.refusal import Refusal
from crimson_protocol.trust import GroupTest


@dataclass(frozen=True)
class Aggregated:
    """What a round comes to. flagged: nodes of each bucket that was beyond what honest nodes send, and how."""

    artifact: bytes = field(repr=False)
    memory: Memory = field(repr=False)
    flagged: tuple[GroupTest, ...] = ()


def aggregate(
    rules: ModelRules, strategy: str, base: bytes, memory: Memory, totals: Totals, noise: Noise | None
) -> Aggregated:
    """The artifact that `strategy` makes of the base artifact and the checked totals.

    Raises PeerFault(TOO_MANY_FLAGGED) where more buckets are left out than the rule can spare, BucketFault where that
    tells who was in them, and CallerFault where a private model comes without noise.
    """
    if strategy == "sum":
        return Aggregated(Artifact.of(np.empty(0, np.float32), totals.counters()).to_bytes(), memory)
    if (rules.privacy is None or rules.privacy.at_nodes) is not (noise is None):
        raise CallerFault(Refusal.UNSUPPORTED, "noise and a privacy budget belong together")
    model = Artifact.from_bytes(base, MAX_ARTIFACT).vector()
    flagged: tuple[GroupTest, ...] = ()
    if noise is not None:
        change: Vector | None = _private(rules, totals, noise, memory)
    elif rules.robust_rule in UNFILTERED:
        change = _mean(rules, totals)
    else:
        change, flagged = _filtered(rules, totals, memory)
    if change is None:
        # No accepted node has weight: nothing was learnt, and the model stays.
        return Aggregated(Artifact.of(model, totals.counters()).to_bytes(), memory, flagged)
    after = step(strategy, rules, model, change, memory, np.float32)
    # A large model's change goes before its bytes are made.
    del model, change
    released = Artifact.of(after.model.astype(np.float32, copy=False), totals.counters())
    return Aggregated(released.to_bytes(), after.memory, flagged)


def _mean(rules: ModelRules, totals: Totals) -> Vector | None:
    """sum(w_i u_i) / sum(w_i) (McMahan et al. 2017), or None without any weight. Both sums carry the factor
    2^value_bits / weight_cap, so a summed parameter lane is in quanta and the quotient in units of the clip.

    FedNova (Wang et al. 2020): nodes send u_i / |a_i|_1, and the mean is multiplied by the effective number of steps,
    sum(w_i |a_i|_1) / sum(w_i).
    """
    if totals.weight <= 0:
        return None
    factor = rules.numbers.clip_micro / MICRO / totals.weight
    if rules.strategy == "fednova":
        factor *= totals.normalisation / totals.weight * rules.numbers.steps_cap
    change = np.empty(rules.numbers.parameters)
    for start, stop, quanta in totals.parameter_blocks():
        np.multiply(quanta, factor, out=change[start:stop])
    return change


def _filtered(
    rules: ModelRules, totals: Totals, memory: Memory
) -> tuple[Vector | None, tuple[GroupTest, ...]]:
    """The robust rule over bucket means within the bound, and who was in the buckets beyond it."""
    means = bucket_means(rules, totals)
    flagged = tuple(found.test for found in means if found.beyond)
    kept = [found for found in means if not found.beyond or (rules.enclave_clip and not found.bucket.fault)]
    if not kept and not flagged:
        return None, ()
    try:
        return _ruled(rules, kept, len(means) - len(kept), memory), flagged
    except PeerFault as fault:
        raise BucketFault(fault.code, fault.text, flagged) from fault


def _ruled(rules: ModelRules, kept: list[BucketMean], left_out: int, memory: Memory) -> Vector:
    nodes = sum(found.bucket.accepted for found in kept)
    if left_out and nodes < rules.numbers.min_cohort:
        raise PeerFault(
            Refusal.TOO_MANY_FLAGGED, f"{nodes} nodes are left, too few to release what they sum to"
        )
    if rules.robust_rule == "norm-bound":
        return _weighted(kept)
    return _combined(rules, np.array([found.mean for found in kept]), left_out, memory)


def _combined(rules: ModelRules, values: Vector, left_out: int, memory: Memory) -> Vector:
    # What was left out for sure need not be borne by the rule a second time.
    bad = max(0, rules.robust_tolerance - left_out)
    start = memory.vector("change", rules.numbers.parameters)
    try:
        return combine(values, rules.robust_rule, bad, bool(rules.mixing), start, rules.radius_micro / MICRO)
    except CallerFault as fault:
        if fault.code is not Refusal.COHORT_TOO_SMALL:
            raise
        text = f"{len(values)} values are left: {fault.text}"
        raise PeerFault(Refusal.TOO_MANY_FLAGGED, text) from fault


def _weighted(kept: list[BucketMean]) -> Vector:
    weight = sum(found.weight for found in kept)
    if not weight:
        raise PeerFault(Refusal.TOO_MANY_FLAGGED, "no bucket within the bound has any weight")
    shares = np.array([found.weight / weight for found in kept])
    return np.asarray(shares @ np.array([found.mean for found in kept]), np.float64)


def _private(rules: ModelRules, totals: Totals, noise: Noise, memory: Memory) -> Vector:
    """The noisy change: of one sum, of kept order statistics, or of a rule over sums that are noisy already."""
    privacy, numbers = rules.privacy, rules.numbers
    if privacy is None:
        raise CallerFault(Refusal.UNSUPPORTED, "a private mean needs a privacy budget")
    unit = numbers.clip_micro / MICRO / 2**numbers.value_bits
    # A record-level sum is divided by its public divisor; a node-level one by the number of nodes.
    nodes = totals.accepted / privacy.divisor if privacy.unit == "record" else 1.0
    sums = bounded(rules, totals)
    if privacy.noise != "buckets":
        return np.asarray(noisy_mean(rules, totals, sums, noise) * (unit * nodes), np.float64)
    sizes = np.array([bucket.accepted for bucket in totals.buckets])
    drawn = 0 if on_opened(rules) else noise.rows
    noisy = (np.array(sums) + drawn) * (unit * nodes) / sizes[:, np.newaxis]
    if rules.robust_rule in (*UNFILTERED, "norm-bound"):
        return np.asarray(np.average(noisy, axis=0, weights=sizes), np.float64)
    # A bare zero among noisy values would be the most central of them. Whether it is one was asked after the noise.
    sound = np.array([bucket.fault is None or hides(rules) for bucket in totals.buckets])
    return _combined(rules, noisy[sound], int(np.sum(~sound)), memory)
