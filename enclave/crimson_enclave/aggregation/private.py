"""The private mean: integer noise, drawn before anything is opened, on a sum that one unit moves by a known bound."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import lcm

import numpy as np
from numpy.typing import NDArray

from crimson_enclave.aggregation.values import UNFILTERED
from crimson_enclave.privacy.noise import MAX_SIGMA, rounded_gaussian
from crimson_enclave.robust.kept_sum import kept
from crimson_enclave.totals import BucketTotal, Totals
from crimson_protocol.entropy import Entropy
from crimson_protocol.errors import PeerFault
from crimson_protocol.layout import Layout
from crimson_protocol.policy.document import MICRO, ModelRules
from crimson_protocol.policy.privacy import sigma_micro
from crimson_protocol.refusal import Refusal

Quanta = NDArray[np.int64]


MOST_SCALED = 1 << 20
"""Sums of 24-bit values of 4096 nodes times this stay below 2^62 in all."""


@dataclass(frozen=True)
class Noise:
    """One row for the sum, or one per bucket where the policy says so. scale: common multiple of the open buckets'
    sizes, by which sums over unlike buckets are made comparable."""

    rows: Quanta = field(repr=False)
    scale: int


def draw(rules: ModelRules, sizes: Sequence[int], entropy: Entropy) -> Noise | None:
    """The noise of a release over open buckets of these accepted `sizes`; None where the enclave adds none.

    Where the rule compares buckets, each sum is first multiplied by scale / size, so one unit moves it by up to
    scale / smallest size times as much, and the noise grows likewise: its multiplier stays what was charged.
    """
    if rules.privacy is None or rules.privacy.at_nodes:
        return None
    count, sigma = rules.numbers.parameters, sigma_micro(rules) / MICRO
    if rules.privacy.noise == "buckets":
        rows = [rounded_gaussian(sigma, count, entropy) for _ in sizes]
        return Noise(np.array(rows), 1)
    scale = common_scale(sizes) if compares(rules) else 1
    widened = sigma * scale / min(sizes) if compares(rules) else sigma
    return Noise(rounded_gaussian(widened, count, entropy).reshape(1, count), scale)


def on_opened(rules: ModelRules) -> bool:
    """Whether noise goes on sums as they were opened, in the ring, before anything is asked of them: then whatever
    follows, refusals included, is made of private values. Not where a bound or an order must come first."""
    privacy = rules.privacy
    if privacy is None or privacy.at_nodes or rules.enclave_clip or rules.robust_rule == "norm-bound":
        return False
    return privacy.noise == "buckets" or rules.robust_rule == "none"


def hides(rules: ModelRules) -> bool:
    """Whether a test of sums would tell of what noise hides only later."""
    return rules.privacy is not None and not rules.privacy.at_nodes and not on_opened(rules)


def spares(rules: ModelRules) -> bool:
    """Whether a bucket whose sum honest nodes cannot make is left out by the robust rule, and does not lose the round.

    Not where that would tell of a sum that noise must hide; a single update's lanes tell of its own node alone.
    """
    return rules.robust_rule not in UNFILTERED and (not hides(rules) or rules.numbers.bucket_size == 1)


def noised(
    rules: ModelRules, layout: Layout, opened: Sequence[BucketTotal], noise: Noise | None
) -> list[BucketTotal]:
    """The opened buckets with their noise in the ring: one for each row of noise, and where it is one row, all buckets
    together. As they are where noise comes later, or never."""
    if noise is None or not on_opened(rules):
        return list(opened)
    groups = (
        [[bucket] for bucket in opened] if rules.privacy and rules.privacy.noise == "buckets" else [opened]
    )
    return [_noised(layout, group, row) for group, row in zip(groups, noise.rows, strict=True)]


def _noised(layout: Layout, buckets: Sequence[BucketTotal], row: Quanta) -> BucketTotal:
    words = buckets[0].words.copy()
    for bucket in buckets[1:]:
        words += bucket.words
    count = layout.numbers.parameters
    layout.write(words, 0, layout.read(words, 0, count) + row.astype(np.uint32))
    return BucketTotal(tuple(node for bucket in buckets for node in bucket.nodes), words, buckets[0].fault)


def common_scale(sizes: Sequence[int]) -> int:
    """The least common multiple of bucket sizes, or PeerFault(OUT_OF_RANGE) where scaled sums might overflow."""
    scale = lcm(*sizes)
    if scale > MOST_SCALED:
        raise PeerFault(Refusal.OUT_OF_RANGE, "the open buckets' sizes are too unlike to be compared exactly")
    return scale


def refuse_too_unlike(rules: ModelRules, sizes: Sequence[int]) -> None:
    """PeerFault(OUT_OF_RANGE) for buckets of these sizes where scaled sums, or their noise, would be too large."""
    if sigma_micro(rules) * common_scale(sizes) > MAX_SIGMA * MICRO * min(sizes):
        raise PeerFault(Refusal.OUT_OF_RANGE, "the noise on buckets of such sizes would be too large to draw")


def compares(rules: ModelRules) -> bool:
    """Whether the rule orders bucket sums, which then must be comparable."""
    return rules.robust_rule in ("trimmed-mean", "median")


def noisy_mean(
    rules: ModelRules, totals: Totals, sums: Sequence[Quanta], noise: Noise
) -> NDArray[np.float64]:
    """The mean contribution of a node, in quanta, float64 (d,), over a public number of nodes.

    sums: parameter lanes of the open buckets, after their bound; with their noise, where that came first. The divisor
    is the number of accepted nodes, which the verdict publishes, never a count that the data decides.
    """
    if not compares(rules):
        drawn = 0 if on_opened(rules) else noise.rows[0]
        noisy: NDArray[np.float64] = (np.sum(sums, axis=0) + drawn) / totals.accepted
        return noisy
    trimmed = (len(sums) - 1) // 2 if rules.robust_rule == "median" else rules.robust_tolerance
    sizes = [bucket.accepted for bucket in totals.buckets]
    scaled = np.array([values * (noise.scale // size) for values, size in zip(sums, sizes, strict=True)])
    total, count = kept(scaled, trimmed)
    ordered: NDArray[np.float64] = (total + noise.rows[0]) / (count * noise.scale)
    return ordered
