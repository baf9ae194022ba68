"""How likely each node is to be bad, from what rounds showed of it: a reason to look, never alone a reason to exclude.

The score is a posterior probability. Evidence adds up as log-likelihood ratios; tests of groups, where one bad member
spoils the whole, are solved by belief propagation over all groupings together (Aldridge, Johnson and Scarlett 2019,
"Group testing", section 3.3). Groups stay as they are for a roster epoch, so an epoch gives one test of each group:
failed, if any of its rounds failed.

A conviction is a signed proof and leaves no doubt. Everything else does: flags of one site are not independent, as
an unusual honest site is unusual in every round, so each kind of evidence has a limit; and a patient attacker behaves
well first, so good behaviour counts for less than bad.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, expm1, log, log1p

from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal

SKETCH_SUM, BUCKET_RULE, NORM_BOUND = "sketch-sum", "bucket-rule", "norm-bound"
OUT_OF_RANGE, COUNT_WORDS = Refusal.OUT_OF_RANGE.value, Refusal.COUNT_WORDS_DIFFER.value


@dataclass(frozen=True)
class Likelihood:
    """Of a test: the probability that it fails where somebody is bad, and where nobody is."""

    if_bad: float
    if_honest: float

    @property
    def failed(self) -> float:
        """What one failure adds to the log-odds of a single node."""
        return log(self.if_bad / self.if_honest)

    @property
    def passed(self) -> float:
        """What one pass adds; negative."""
        return log1p(-self.if_bad) - log1p(-self.if_honest)


# Between attackers who take no care, of whom the filter finds 95 % and more, and those who do, of whom it finds few;
# honest sites fail once in a hundred rounds (benchmarks/learning/sketch_filter.py), here twice that.
SKETCH = Likelihood(0.5, 0.02)
# Sums of sketches are exact, so only a lie or a broken node makes them differ; a liar may pause for an epoch.
GROUPS: Mapping[str, Likelihood] = {
    SKETCH_SUM: Likelihood(0.95, 0.001),
    # Honest nodes clip, so a bucket beyond the bound holds somebody who did not; a careful attacker stays within.
    NORM_BOUND: Likelihood(0.8, 0.001),
    # Nor do honest nodes make a lane too large, or masks that do not cancel.
    OUT_OF_RANGE: Likelihood(0.8, 0.001),
    COUNT_WORDS: Likelihood(0.8, 0.001),
    # A robust rule puts the furthest buckets out, bad or not.
    BUCKET_RULE: Likelihood(0.8, 0.1),
}
# A node may have lost its line. Odds of 6 to 5 for each round that it left after its shares were dealt.
ABSENT = log(1.2)
# Most that flags, passes and absences may add, whatever their number. From a prior of 1 in 20, flags alone reach 0.89.
FLAG_LIMIT, PASS_LIMIT, ABSENT_LIMIT = 5.0, -3.0, log(3.0)

_SWEEPS = 50
_DAMPING = 0.5
_SMALLEST = 1e-9


@dataclass(frozen=True)
class Conduct:
    """What rounds showed of one node.

    flagged, passed: sketched rounds by the filter's judgement. absent: rounds that it left after its shares were
    dealt. convicted: a fault proof names it.
    """

    flagged: int = 0
    passed: int = 0
    absent: int = 0
    convicted: bool = False


@dataclass(frozen=True)
class GroupTest:
    """One group of one roster epoch: who was in it, by which test of GROUPS it was judged, and whether it failed."""

    nodes: tuple[int, ...]
    test: str
    failed: bool


@dataclass
class _Messages:
    """Belief propagation: what each group says to each of its members, in log-odds."""

    evidence: Mapping[int, float]
    tests: Sequence[GroupTest]
    said: list[dict[int, float]] = field(init=False)

    def __post_init__(self) -> None:
        self.said = [dict.fromkeys(test.nodes, 0.0) for test in self.tests]

    def log_odds(self) -> dict[int, float]:
        """Each node's own evidence and what all of its groups say."""
        total = dict(self.evidence)
        for said in self.said:
            for node, message in said.items():
                total[node] += message
        return total

    def sweep(self) -> None:
        """Every group speaks anew, from what its members believe without it."""
        total = self.log_odds()
        for test, said in zip(self.tests, self.said, strict=True):
            # Logarithm of the probability that a member is honest, by everything but this group.
            honest = {node: -_softplus(total[node] - said[node]) for node in test.nodes}
            everybody = sum(honest.values())
            for node in test.nodes:
                fresh = _group_ratio(GROUPS[test.test], test.failed, everybody - honest[node])
                said[node] += _DAMPING * (fresh - said[node])


def posterior(
    conduct: Mapping[int, Conduct], tests: Iterable[GroupTest] = (), prior: float = 0.05
) -> dict[int, float]:
    """Probability that each node of `conduct` is bad, given all evidence; 1.0 for a convicted node and no other.

    prior: the share of nodes expected to be bad before any evidence. The order of tests does not matter.
    Raises CallerFault: OUT_OF_RANGE for a prior not inside (0, 1) or a negative count, UNKNOWN_NODE, MALFORMED for a
    test of nobody, of somebody twice, or of an unknown name.
    """
    if not 0 < prior < 1:
        raise CallerFault(Refusal.OUT_OF_RANGE, "a prior is a probability between 0 and 1")
    found = tuple(tests)
    _check(conduct, found)
    start = log(prior) - log1p(-prior)
    messages = _Messages({node: start + _log_ratio(shown) for node, shown in conduct.items()}, found)
    for _ in range(_SWEEPS if found else 0):
        messages.sweep()
    odds = messages.log_odds()
    return {node: 1.0 if conduct[node].convicted else _probability(odds[node]) for node in sorted(conduct)}


def _check(conduct: Mapping[int, Conduct], tests: Sequence[GroupTest]) -> None:
    if any(min(shown.flagged, shown.passed, shown.absent) < 0 for shown in conduct.values()):
        raise CallerFault(Refusal.OUT_OF_RANGE, "rounds are not counted below 0")
    for test in tests:
        if not test.nodes or len(set(test.nodes)) != len(test.nodes) or test.test not in GROUPS:
            raise CallerFault(Refusal.MALFORMED, "a group test has distinct nodes and a known name")
        if not set(test.nodes) <= conduct.keys():
            raise CallerFault(Refusal.UNKNOWN_NODE, "a group holds a node of which nothing is known")


def _log_ratio(shown: Conduct) -> float:
    """Log-likelihood ratio, bad over honest, of what a node did itself."""
    if shown.convicted:
        return -log(_SMALLEST)
    sketched = shown.flagged * SKETCH.failed + shown.passed * SKETCH.passed
    limited = max(PASS_LIMIT, min(FLAG_LIMIT, sketched))
    return limited + min(ABSENT_LIMIT, shown.absent * ABSENT)


def _group_ratio(likelihood: Likelihood, failed: bool, others_honest: float) -> float:
    """Log-likelihood ratio of a member: with it bad the group holds somebody bad; with it honest, only if another is.

    others_honest: logarithm of the probability that all others are honest.
    """
    somebody = -expm1(others_honest)
    fails = somebody * likelihood.if_bad + (1 - somebody) * likelihood.if_honest
    if failed:
        return log(likelihood.if_bad / fails)
    return log1p(-likelihood.if_bad) - log1p(-fails)


def _softplus(value: float) -> float:
    """log(1 + e^value) without overflow."""
    return max(value, 0.0) + log1p(exp(-abs(value)))


def _probability(log_odds: float) -> float:
    """Inside (0, 1): without a conviction there is always some doubt."""
    return min(max(exp(-_softplus(-log_odds)), _SMALLEST), 1 - _SMALLEST)
