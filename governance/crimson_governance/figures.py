"""What a model's numbers come to: thresholds, how many may drop, how likely a bucket is too corrupt, how many bad
values a robust rule bears, how much of an update sketches show.

Exact throughout; only `in_words` rounds, for people.
"""

from dataclasses import dataclass
from fractions import Fraction

from crimson_protocol import cohort
from crimson_protocol.errors import PolicyRefusal
from crimson_protocol.exposure import EXPOSURE_LIMIT_MICRO, EXPOSURE_WARNING_MICRO, exposure_micro
from crimson_protocol.policy.combinations import COMPARING, NEAREST
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


@dataclass(frozen=True)
class RobustFigures:
    """What a robust rule compares: `values` of `what`, of which it is asked to bear `tolerance` bad ones and could
    bear `most`. A policy that asks for more is refused."""

    what: str
    values: int
    tolerance: int
    most: int


@dataclass(frozen=True)
class SketchFigures:
    """Sketches of one model. share: of an update that one sketch shows, in millionths. `warned` and `last`: sketched
    rounds after which governors should think again, and after which no other is made; `every` rounds one is."""

    share_micro: int
    every: int
    warned: int
    last: int

    @property
    def warned_round(self) -> int:
        """The round with the sketch that reaches the warning."""
        return (self.warned - 1) * self.every + 1

    @property
    def last_round(self) -> int:
        """The last round before one that would be refused its sketch."""
        return self.last * self.every


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


def robust_figures(policy: Policy, rules: ModelRules) -> RobustFigures | None:
    """Figures of the robust rule; None where there is none, or where it judges each value by itself."""
    nodes, size = len(policy.members(rules.model)), rules.numbers.bucket_size
    if rules.robust_rule == "sketch-filter":
        return RobustFigures("sketches", nodes, rules.robust_tolerance, (nodes - 3) // 2)
    if rules.robust_rule not in COMPARING or not size:
        return None
    values = nodes // size
    most = (values - (3 if rules.robust_rule in NEAREST else 1)) // 2
    what = "single updates" if size == 1 else "bucket means"
    return RobustFigures(what, values, rules.robust_tolerance, most)


def sketch_figures(rules: ModelRules) -> SketchFigures | None:
    """Figures of the sketches; None where there are none."""
    share = exposure_micro(rules)
    if rules.sketch is None or not share:
        return None
    warned = -(-EXPOSURE_WARNING_MICRO // share)
    return SketchFigures(share, rules.sketch.every, warned, EXPOSURE_LIMIT_MICRO // share)


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
    whole, rest = divmod(abs(value), 10**places)
    return f"{'-' if value < 0 else ''}{whole}.{rest:0{places}d}".rstrip("0").rstrip(".")


def share_in_words(share: tuple[int, int]) -> str:
    """A share as it is written in a source."""
    return f"{share[0]}/{share[1]}"
