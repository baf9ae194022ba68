"""Whether a policy is sound, what its numbers come to, and what governors should think twice about."""

from dataclasses import dataclass
from typing import Any

from crimson_governance.changes.of_policy import Edition
from crimson_governance.figures import (
    RARE,
    BucketFigures,
    CohortFigures,
    bucket_figures,
    cohort_figures,
    decimal_in_words,
    odds_in_words,
)
from crimson_governance.vocabulary import DISCLOSURES, STRATEGIES_THAT_RUN, counted, listed
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
    privacy: str | None
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
            "privacy": self.privacy,
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
    policy, found = edition.policy, tuple(reasons(edition.policy))
    if found:
        # Figures of an unsound policy would be read as if they meant something.
        return Report(found, (), tuple(_governance_warnings(edition, now)))
    warnings = [*_governance_warnings(edition, now), *_evidence_warnings(policy)]
    for rules in policy.models:
        warnings += [f"{rules.model}: {text}" for text in _model_warnings(policy, rules)]
    return Report((), tuple(_model(policy, rules) for rules in policy.models), tuple(warnings))


def _model(policy: Policy, rules: ModelRules) -> ModelReport:
    return ModelReport(
        model=rules.model,
        nodes=len(policy.members(rules.model)),
        cohorts=tuple(cohort_figures(policy, rules)),
        buckets=bucket_figures(policy, rules),
        privacy=_privacy(rules),
        disclosures=rules.disclosures,
    )


def _privacy(rules: ModelRules) -> str | None:
    if rules.privacy is None:
        return None
    epsilon = decimal_in_words(rules.privacy.epsilon_thousandths, 3)
    return (
        f"budget of each {rules.privacy.unit}: epsilon {epsilon}, delta 10^-{rules.privacy.delta_exponent}, over all "
        "rounds; what a round takes of it follows with the ledger"
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
    if missing := _not_implemented(rules):
        found.append(f"no enclave of this version runs {listed(missing)}: it refuses the policy")
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


def _not_implemented(rules: ModelRules) -> list[str]:
    """What the enclaves of this version refuse (docs/PROTOCOL.md, Knobs)."""
    found = [] if rules.strategy in STRATEGIES_THAT_RUN else [f"the strategy {rules.strategy}"]
    if rules.robust_rule != "none":
        found.append(f"the rule {rules.robust_rule}")
    if rules.enclave_clip:
        found.append("clipping in the enclave")
    if rules.sketch is not None:
        found.append("sketches")
    if rules.privacy is not None or rules.numbers.noise_micro:
        found.append("differential privacy")
    return found
