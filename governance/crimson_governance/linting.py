"""Whether a policy is sound, what its numbers come to, and what governors should think twice about."""

from dataclasses import dataclass
from typing import Any

from crimson_governance.accounting import overspent
from crimson_governance.budgets import BudgetFigures, budget_figures
from crimson_governance.changes.of_policy import Edition
from crimson_governance.figures import (
    RARE,
    BucketFigures,
    CohortFigures,
    RobustFigures,
    SketchFigures,
    bucket_figures,
    cohort_figures,
    odds_in_words,
    robust_figures,
    sketch_figures,
)
from crimson_governance.model_words import budget_words, robust_words, sketch_words, strategy_words
from crimson_governance.vocabulary import DISCLOSURES, counted
from crimson_protocol.policy.combinations import COMPARING
from crimson_protocol.policy.decisions import may_release, may_start
from crimson_protocol.policy.document import ModelRules, Policy
from crimson_protocol.policy.soundness import reasons

LONG_DAYS = 366
DAY = 86_400
FIRST_ROUND = 1


@dataclass(frozen=True)
class ModelReport:
    """One model's figures."""

    model: str
    nodes: int
    cohorts: tuple[CohortFigures, ...]
    buckets: BucketFigures | None
    robust: RobustFigures | None
    sketches: SketchFigures | None
    budget: BudgetFigures | None
    words: tuple[str, ...]
    disclosures: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        """For the JSON envelope; a probability as numerator and denominator, exactly."""
        buckets = None
        if self.buckets is not None:
            odds = self.buckets.odds
            exact = {
                "numerator": odds.numerator,
                "denominator": odds.denominator,
                "words": odds_in_words(odds),
            }
            buckets = {**vars(self.buckets), "odds": exact}
        return {
            "model": self.model,
            "nodes": self.nodes,
            "cohorts": [vars(row) for row in self.cohorts],
            "buckets": buckets,
            "robust": vars(self.robust) if self.robust else None,
            "sketches": vars(self.sketches) if self.sketches else None,
            "privacy": vars(self.budget) if self.budget else None,
            "words": list(self.words),
            "disclosures": {name: DISCLOSURES[name] for name in self.disclosures},
        }


@dataclass(frozen=True)
class Report:
    """Everything that lint has to say. The policy is sound where there are no reasons against it."""

    reasons: tuple[str, ...]
    models: tuple[ModelReport, ...]
    warnings: tuple[str, ...]


def lint(edition: Edition, now: int) -> Report:
    """The report on a policy at `now` (Unix seconds)."""
    policy, found = edition.policy, tuple(reasons(edition.policy) or _overspent(edition.policy))
    if found:
        # Figures of an unsound policy would be read as if they meant something.
        return Report(found, (), tuple(_governance_warnings(edition, now)))
    warnings = [*_governance_warnings(edition, now), *_evidence_warnings(policy)]
    for rules in policy.models:
        warnings += [f"{rules.model}: {text}" for text in _model_warnings(policy, rules)]
    return Report((), tuple(_model(policy, rules) for rules in policy.models), tuple(warnings))


def _overspent(policy: Policy) -> list[str]:
    """U21, which only governors check: the protocol has no accountant."""
    found = ((rules.model, overspent(rules)) for rules in policy.models)
    return [f"{model}: {reason}" for model, reason in found if reason is not None]


def _model(policy: Policy, rules: ModelRules) -> ModelReport:
    robust, sketches, budget = (
        robust_figures(policy, rules),
        sketch_figures(rules),
        budget_figures(policy, rules),
    )
    words = [*strategy_words(rules), *robust_words(rules, robust), *sketch_words(rules, sketches)]
    return ModelReport(
        model=rules.model,
        nodes=len(policy.members(rules.model)),
        cohorts=tuple(cohort_figures(policy, rules)),
        buckets=bucket_figures(policy, rules),
        robust=robust,
        sketches=sketches,
        budget=budget,
        words=(*words, *budget_words(rules, budget)),
        disclosures=rules.disclosures,
    )


def _governance_warnings(edition: Edition, now: int) -> list[str]:
    policy, parties, found = edition.policy, edition.parties, []
    total = len(parties.governors)
    if parties.threshold == 1:
        found.append("one governor alone can change everything: a single stolen key is enough")
    elif parties.threshold == total:
        found.append("all governors must sign: one lost key, and nothing can be changed any more")
    if policy.expires - now > LONG_DAYS * DAY:
        found.append(
            f"the policy lasts {(policy.expires - now) // DAY} days: who never hears of the next one follows it"
        )
    return found


def _evidence_warnings(policy: Policy) -> list[str]:
    found: list[str] = []
    evidence = policy.evidence
    if not policy.models:
        return found
    if not evidence.measurements or ("sim" in evidence.kinds and not evidence.simulated_roots):
        found.append(
            "no enclave can prove itself: name a measurement, and a root where evidence is simulated"
        )
    if "sim" in evidence.kinds:
        found.append(
            "evidence is SIMULATED: whoever runs the enclave's machine could see what the enclave sees"
        )
    if not evidence.measures:
        found.append("no measure of isolation is asked of the enclave")
    return found


def _model_warnings(policy: Policy, rules: ModelRules) -> list[str]:
    found = [f"declares {name}: {DISCLOSURES[name]}" for name in rules.disclosures]
    found += _liveness(policy, rules)
    buckets = bucket_figures(policy, rules)
    if buckets is not None and buckets.odds > RARE:
        odds = odds_in_words(buckets.odds)
        found.append(f"a bucket holds more corrupt nodes than it allows for with probability {odds}")
    found += _robust_warnings(rules) + _sketch_warnings(rules) + _budget_warnings(policy, rules)
    starters = [
        item.name for item in policy.operators if may_start(policy, item, rules.model, FIRST_ROUND).allowed
    ]
    if not starters:
        found.append("no operator may start its rounds")
    return found


def _liveness(policy: Policy, rules: ModelRules) -> list[str]:
    found = []
    nodes = len(policy.members(rules.model))
    for row in cohort_figures(policy, rules):
        if row.drops < 0:
            found.append(
                f"a round of {counted(row.n, 'node')} cannot finish: {row.quorum} of {nodes} must confirm"
            )
        elif row.n == nodes and row.drops_beside_refusals < 0:
            found.append(
                f"not live if the {counted(row.corrupt, 'corrupt node')} also refuse: no round would finish"
            )
    decision = may_release(
        policy,
        rules.model,
        round=FIRST_ROUND,
        accepted=nodes,
        dropped=0,
        simulated="sim" in policy.evidence.kinds,
    )
    if not decision.allowed:
        found.append("the access rules deny the release even of a round that nobody dropped out of")
    return found


def _robust_warnings(rules: ModelRules) -> list[str]:
    found = []
    if rules.robust_rule in COMPARING and not rules.robust_tolerance:
        found.append(f"{rules.robust_rule} is asked to bear no bad value: set a tolerance")
    if rules.robust_rule == "none" and rules.numbers.bucket_size is not None:
        found.append("the enclave sees sums over buckets, and no robust rule makes use of them")
    return found


def _sketch_warnings(rules: ModelRules) -> list[str]:
    figures = sketch_figures(rules)
    if figures is None:
        return []
    found = ["nodes that the sketch filter flags are left out, and honest ones may be among them"]
    rounds, limit = counted(figures.warned_round, "round"), counted(figures.last_round, "round")
    if not figures.last:
        found.append("one sketch shows more of an update than sketches ever may: no round would be sketched")
    else:
        found.append(
            f"sketches show a tenth of an update after {rounds}; after {limit} rounds end in a refusal"
        )
    return found


def _budget_warnings(policy: Policy, rules: ModelRules) -> list[str]:
    figures, found = budget_figures(policy, rules), []
    if figures is None:
        return []
    if figures.noise_to_signal > 1:
        length = f"about {figures.noise_to_signal:.3g} times as long as an update can be"
        found.append(f"noise on the mean is {length}: it learns little or nothing, whatever is released")
    if not figures.rare_enough:
        found.append(
            f"delta 10^-{figures.delta_exponent} is not below 1 in {figures.units}, the {figures.unit}s that it "
            "protects: one of them may be shown whole"
        )
    if figures.unit == "node":
        found.append("each node is protected as a whole, and its records only along with it")
    return found
