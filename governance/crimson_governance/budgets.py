"""What a privacy budget comes to, for people who must judge it: epsilon after some rounds, and noise beside signal."""

from dataclasses import dataclass
from fractions import Fraction
from math import sqrt

from crimson_governance.accounting import afforded, cost
from crimson_governance.figures import decimal_in_words
from crimson_protocol.policy.document import MICRO, ModelRules, Policy
from crimson_protocol.policy.privacy import adjacency, charged_unit, multiplier_micro
from crimson_protocol.policy.privacy_rules import PrivacyRules

SHOWN_RELEASES = (1, 10, 50)
UNBOUNDED_EPSILON = 1_000_000
"""Thousandths from which an epsilon protects nobody in words either."""
ORDERED = ("trimmed-mean", "median")
AVERAGED = ("none", "norm-bound")
ADJACENCIES = {
    "add-remove": "one record more or less",
    "zero-out": "one node's whole contribution replaced by zero",
}


@dataclass(frozen=True)
class BudgetFigures:
    """A model's budget. costs: (releases, epsilon in thousandths) pairs up to all that were promised. multiplier: of
    the noise, in millionths. noise_to_signal: norm of the noise on the mean over the bound on one unit's share of it,
    were all its shares alike. units: how many of them the policy counts with, None where it does not say."""

    unit: str
    adjacency: str
    epsilon_thousandths: int
    delta_exponent: int
    sampling_micro: int
    multiplier_micro: int
    releases: int
    afforded: int
    costs: tuple[tuple[int, int], ...]
    noise_to_signal: float
    units: int

    @property
    def rare_enough(self) -> bool:
        """Whether delta is below 1 / units: above it a mechanism that publishes one unit whole would pass."""
        return bool(10**self.delta_exponent > self.units)

    @property
    def guarantee(self) -> str:
        """Unit, delta and adjacency, which no epsilon stands without."""
        words = ADJACENCIES[self.adjacency]
        return f"for each {self.unit}, delta 10^-{self.delta_exponent}, {self.adjacency} ({words})"


def budget_figures(policy: Policy, rules: ModelRules) -> BudgetFigures | None:
    """The figures of a sound model's budget; None where it has none."""
    privacy = rules.privacy
    if privacy is None:
        return None
    counts = sorted({count for count in SHOWN_RELEASES if count < privacy.releases} | {privacy.releases})
    nodes = len(policy.members(rules.model))
    return BudgetFigures(
        unit=charged_unit(privacy),
        adjacency=adjacency(privacy),
        epsilon_thousandths=privacy.epsilon_thousandths,
        delta_exponent=privacy.delta_exponent,
        sampling_micro=privacy.sampling_micro,
        multiplier_micro=multiplier_micro(rules),
        releases=privacy.releases,
        afforded=afforded(rules),
        costs=tuple((count, cost(rules, count)) for count in counts),
        noise_to_signal=noise_to_signal(rules, privacy, nodes),
        units=nodes if charged_unit(privacy) == "node" else _records(privacy, nodes),
    )


def noise_share(rules: ModelRules, nodes: int) -> Fraction | float:
    """Deviation of the noise on what the rule returns, per coordinate, over the deviation of one draw: the mean over
    `nodes` in full buckets.

    One draw on the sum: 1 / n. One draw on ordered bucket means of s nodes, 2f of B left out: 1 / (s (B - 2f)). A draw
    per bucket: sqrt(B) / n where the buckets are averaged, and 1 / s on each value that any other rule compares. A draw
    at each node: 1 / sqrt(n), or 1 / sqrt(s) on each value that a rule compares.
    """
    size = rules.numbers.bucket_size or nodes
    buckets = max(1, nodes // size)
    where = rules.privacy.noise if rules.privacy else "release"
    if where == "nodes":
        return 1 / sqrt(nodes if rules.robust_rule in AVERAGED else size)
    if where == "buckets":
        return sqrt(buckets) / nodes if rules.robust_rule in AVERAGED else Fraction(1, size)
    if rules.robust_rule not in ORDERED:
        return Fraction(1, nodes)
    trimmed = (buckets - 1) // 2 if rules.robust_rule == "median" else rules.robust_tolerance
    return Fraction(1, size * (buckets - 2 * trimmed))


def noise_to_signal(rules: ModelRules, privacy: PrivacyRules, nodes: int) -> float:
    """sigma sqrt(d) / (clip n) for a plain mean: beyond 1 the noise is longer than any mean update can be.

    Where records are protected the mean is over the public divisor, and each record's share is at most its clip. Noise
    at the nodes is that of all local steps, as if they were plain ones, beside what all their records could do.
    """
    if privacy.at_nodes:
        of_a_sum = privacy.step_multiplier_micro / MICRO * sqrt(rules.numbers.parameters)
        return of_a_sum * float(noise_share(rules, nodes)) / sqrt(privacy.steps) / privacy.divisor
    deviation = rules.numbers.noise_micro / MICRO * float(noise_share(rules, nodes))
    length = deviation * sqrt(rules.numbers.parameters)
    if privacy.unit == "record":
        return length * nodes / privacy.divisor / (privacy.record_clip_micro / MICRO)
    return length / (rules.numbers.clip_micro / MICRO)


def _records(privacy: PrivacyRules, nodes: int) -> int:
    """Records that the policy counts with, at all nodes: the divisor is how many of them a sample is expected to hold,
    or how many of one node's."""
    samples = nodes if privacy.at_nodes else 1
    return samples * privacy.divisor * MICRO // privacy.sampling_micro


def epsilon_in_words(thousandths: int) -> str:
    """Thousandths as a plain decimal, or that there is no bound worth the name."""
    return "unbounded" if thousandths >= UNBOUNDED_EPSILON else decimal_in_words(thousandths, 3)


def costs_in_words(figures: BudgetFigures) -> str:
    """Epsilon after one release, after some, and after all."""
    parts = []
    for count, epsilon in figures.costs:
        when = "one release" if count == 1 else f"{count} releases"
        if count == figures.releases:
            when = f"all {count} releases" if count > 1 else "its one release"
        parts.append(f"{epsilon_in_words(epsilon)} after {when}")
    return ", ".join(parts)
