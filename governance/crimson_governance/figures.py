"""What a model's numbers come to: thresholds, how many may drop, how likely a bucket is too corrupt.

Exact throughout; only `in_words` rounds, for people.
"""

from dataclasses import dataclass
from fractions import Fraction

from crimson_protocol import cohort
from crimson_protocol.errors import PolicyRefusal
from crimson_protocol.policy.document import ModelRules, Policy

RARE = Fraction(1, 1000)
"""A bucket that is too corrupt more often than this is worth a warning."""


@dataclass(frozen=True)
class CohortFigures:
    """A round of `n` nodes. `least` accepted nodes open a sum; `drops` may vanish, `drops_beside_refusals` of them
    where all corrupt nodes refuse to answer as well (negative: such a round is lost without a single drop)."""

    n: int
    corrupt: int
    threshold: int
    quorum: int
    least: int
    drops: int
    drops_beside_refusals: int
    dense: bool


@dataclass(frozen=True)
class BucketFigures:
    """Buckets of `size` nodes, the last one with the remainder. `odds`: that any one holds more corrupt nodes than
    its own share allows, by a union bound over all."""

    size: int
    count: int
    floor: int
    odds: Fraction


def cohort_figures(policy: Policy, rules: ModelRules) -> list[CohortFigures]:
    """Figures of the largest and of the smallest round that a sound model may have, largest first."""
    nodes = len(policy.members(rules.model))
    sizes = sorted({nodes, min(nodes, rules.numbers.min_cohort)}, reverse=True)
    return [found for n in sizes if (found := _of(n, nodes, rules)) is not None]


def _of(n: int, nodes: int, rules: ModelRules) -> CohortFigures | None:
    numbers = rules.numbers
    try:
        found = cohort.numbers(n, nodes, numbers.corrupt, numbers.dropout)
    except PolicyRefusal:
        return None
    least = max(numbers.min_cohort, found.corrupt + cohort.HONEST_FLOOR)
    if found.dense:
        drops = n - max(found.threshold, found.quorum, least)
    else:
        # Sparse degrees are chosen for one share of dropouts; beyond it nothing is promised.
        numerator, denominator = numbers.dropout
        drops = min(n * numerator // denominator, n - max(found.quorum, least))
    return CohortFigures(
        n,
        found.corrupt,
        found.threshold,
        found.quorum,
        least,
        drops,
        drops - found.corrupt,
        found.dense,
    )


def bucket_figures(policy: Policy, rules: ModelRules) -> BucketFigures | None:
    """Figures of the buckets; None where the whole cohort is one."""
    nodes, size = len(policy.members(rules.model)), rules.numbers.bucket_size
    if size is None or not 1 <= size <= nodes:
        return None
    count, floor = nodes // size, cohort.bucket_floor(size, rules.numbers.corrupt)
    each = cohort.probability_bucket_too_corrupt(nodes, rules.numbers.corrupt, size)
    return BucketFigures(size, count, floor, min(Fraction(1), count * each))


def odds_in_words(odds: Fraction) -> str:
    """A probability as "never", "always" or "1 in N"."""
    if not odds:
        return "never"
    if odds >= 1:
        return "always possible"
    if odds > Fraction(1, 10):
        return f"{round(100 * odds)} in 100"
    return f"1 in {round(1 / odds):,}"


def micro_in_words(value: int) -> str:
    """Millionths as a plain decimal: 8000000 is 8, 250000 is 0.25."""
    return decimal_in_words(value, 6)


def decimal_in_words(value: int, places: int) -> str:
    """An integer in units of 10^-places as a plain decimal without trailing zeros."""
    whole, rest = divmod(value, 10**places)
    return f"{whole}.{rest:0{places}d}".rstrip("0").rstrip(".")


def share_in_words(share: tuple[int, int]) -> str:
    """A share as it is written in a source."""
    return f"{share[0]}/{share[1]}"
