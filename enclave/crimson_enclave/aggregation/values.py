"""Bucket means, held to the norm bound that every honest node kept to."""

from dataclasses import dataclass, field
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from crimson_enclave.totals import BucketTotal, Totals
from crimson_protocol.policy.document import MICRO, ModelRules
from crimson_protocol.trust import NORM_BOUND, GroupTest

UNFILTERED = ("none", "sketch-filter")
"""Rules that leave the opened sums as they are: nodes were chosen before the verdict, or not at all."""


@dataclass(frozen=True)
class BucketMean:
    """One bucket's mean update in the update's unit, float64 (d,), and its share of the weight."""

    bucket: BucketTotal
    weight: int
    mean: NDArray[np.float64] = field(repr=False)
    beyond: bool

    @property
    def test(self) -> GroupTest:
        """What its being beyond the bound says of its nodes."""
        return (
            self.bucket.test if self.bucket.fault else GroupTest(self.bucket.nodes, NORM_BOUND, self.beyond)
        )


def bucket_means(rules: ModelRules, totals: Totals) -> list[BucketMean]:
    """The mean of every open bucket that has any weight.

    Each node's weighted update has a norm of at most its weight times the clip, so a bucket's mean has at most the
    clip, but for rounding. One beyond it proves that somebody in it did not clip, or gave a false weight: it is
    marked. Every mean is brought back to the bound: a light bucket's rounding must not count for much either.
    One with a fault is beyond it too, and has a mean of zeros.
    """
    clip = rules.numbers.clip_micro / MICRO
    found = []
    for bucket in totals.buckets:
        weight = totals.weight_of(bucket)
        quanta = totals.parameters_of(bucket)
        norm = float(np.linalg.norm(quanta.astype(np.float64)))
        allowed = weight + _rounding(bucket, quanta.size)
        beyond = norm > allowed or bucket.fault is not None
        if not weight and not beyond:
            continue
        mean = quanta.astype(np.float64) * (clip / max(weight, 1))
        if norm > weight:
            mean *= weight / norm
        found.append(BucketMean(bucket, weight, mean, beyond))
    return found


def bounded(rules: ModelRules, totals: Totals) -> list[NDArray[np.int64]]:
    """The parameter lanes of every open bucket, in quanta, under a test that looks at no other bucket.

    One beyond accepted · clip is brought back to it and cut to integers towards zero, which the sensitivity allows
    for; or, a single update under the rule norm-bound, it counts as zero.
    """
    sums = []
    for bucket in totals.buckets:
        quanta = totals.parameters_of(bucket)
        norm, bound = (
            float(np.linalg.norm(quanta.astype(np.float64))),
            bucket.accepted << rules.numbers.value_bits,
        )
        if rules.enclave_clip and norm > bound:
            quanta = np.trunc(quanta * (bound / norm)).astype(np.int64)
        elif rules.robust_rule == "norm-bound" and norm > bound + _rounding(bucket, quanta.size):
            quanta = np.zeros_like(quanta)
        sums.append(quanta)
    return sums


def _rounding(bucket: BucketTotal, lanes: int) -> float:
    """Most that rounding adds to a bucket's norm, in quanta: less than one a lane and node, and a half per weight."""
    return bucket.accepted * (sqrt(lanes) + 1)
