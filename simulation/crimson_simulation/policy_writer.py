"""Writes the policy of a simulated federation, which governs itself."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, sqrt

from crimson_governance.accounting import with_least_noise
from crimson_governance.initial import initial_parameters
from crimson_governance.templates import template
from crimson_node.learning.local_steps import normalisation
from crimson_node.learning.plan import MICRO, TRAINED, Levels, TrainingPlan
from crimson_protocol.artifact import Artifact
from crimson_protocol.cohort import bucket_floor, corrupt_count
from crimson_protocol.policy.access import AccessRules
from crimson_protocol.policy.document import (
    KINDS,
    POLICY_VERSION,
    EnrolmentRules,
    EvidenceRules,
    ModelRules,
    OperatorEntry,
    Policy,
    RosterEntry,
    ServerRules,
    SketchRules,
)
from crimson_protocol.policy.privacy_rules import PrivacyRules
from crimson_protocol.secret.keys import BoxKey, IdentityKey
from crimson_protocol.transcript import model_digest
from crimson_protocol.wire.messages.advertise import RoundNumbers
from crimson_simulation.dataset import PooledData
from crimson_simulation.options import TrainOptions
from crimson_simulation.public_facts import PublicFacts

LIFETIME = 30 * 86_400
CLIP, PRIVATE_CLIP, RECORD_CLIP = 8.0, 1.0, 1.0
ROBUST_CLIP = 0.6
"""Of learning rate times local steps, where a robust rule holds updates to the clip: what an update on the dialysis
data seldom exceeds. Tried on that data alone; on the TCGA data it costs nothing."""
VALUE_BITS, PRIVATE_VALUE_BITS, RING_BITS = 16, 20, 32
SAMPLING = 0.1
MODEL, MOMENTS, SCORE = "survival", "survival.moments", "survival.score"
SMALLEST_WITH_CORRUPTION = 4
ASSUMED_BAD = (1, 5)
SKETCH_ROWS = 4
MIXED = ("trimmed-mean", "median", "geometric-median")
"""Rules that nearest-neighbour mixing goes before, unless it is switched off."""
SERVERS = {
    "fedavgm": (0.9, 0.0, 0.0, 0.3),
    "fedadam": (0.9, 0.99, 1e-3, 0.05),
    "fedyogi": (0.9, 0.99, 1e-3, 0.05),
}
"""Momentum, decay of the second moment, adaptivity and rate of the server optimisers."""
PRIVATE_RATE = 1.0
"""Server rate of record-level steps; with no penalty the best of a grid on the dialysis data alone (docs/adr/0022)."""
TASKS = {"survival": "cox", "hazard": "hazard"}
LOSSES = {"cox": "cox-partial-likelihood", "hazard": "discrete-hazard"}
RATES = {"survival": 0.1, "hazard": 0.5}


@dataclass(frozen=True)
class SiteKeys:
    """The two keys that a node would have made at its site."""

    identity: IdentityKey
    encryption: BoxKey


def training_plan(task: str, pooled: PooledData, options: TrainOptions, facts: PublicFacts) -> TrainingPlan:
    """The plan of one task over the file's declaration."""
    declaration, hazard = pooled.declaration, task.startswith("hazard")
    trained = task in TRAINED
    rate = options.learning_rate or RATES[options.model]
    return TrainingPlan(
        task=task,
        time_column=declaration.time_column,
        event_column=declaration.event_column,
        numeric=declaration.numeric,
        categorical=tuple(Levels(column, levels) for column, levels in declaration.categorical),
        steps=1 if options.one_step else options.local_steps,
        learning_rate_micro=round(rate * MICRO),
        l2_micro=round(options.penalty * MICRO),
        weights="equal" if options.dp else options.weights,
        scale_model=None if task == "moments" or options.dp else MOMENTS,
        grid_micro=facts.grid_micro if task.endswith("score") else (),
        batch=options.batch if trained else 0,
        proximal_micro=round(options.proximal * MICRO) if trained and options.strategy == "fedprox" else 0,
        cuts_micro=facts.cuts(options.bins) if hazard else (),
        hidden=options.hidden if hazard else (),
        ranges=facts.ranges if options.dp else (),
        losses=not (options.dp or options.sketch),
    )


def model_rules(
    plan: TrainingPlan, name: str, options: TrainOptions, nodes: int, facts: PublicFacts, initial: bytes
) -> ModelRules:
    """The rules of one model. Only the trained model carries strategy, privacy and sketches."""
    trained = plan.task in TRAINED
    numbers = round_numbers(plan, nodes, facts, options)
    rules = ModelRules(
        model=name,
        strategy=options.server_strategy if trained else "sum",
        alternatives=(),
        loss=LOSSES[plan.task] if trained else "none",
        robust_rule=options.robust_rule if trained else "none",
        robust_tolerance=tolerance(options, nodes) if trained else 0,
        mixing=int(trained and options.mixing and options.strategy in MIXED and may_mix(options)),
        radius_micro=numbers.clip_micro // 2 if trained and options.strategy == "centered-clipping" else 0,
        enclave_clip=int(trained and bool(options.dp) and (options.bucket_size or 1) > 1),
        numbers=numbers,
        server=server_rules(options) if trained else ServerRules(),
        sketch=SketchRules(options.sketch, SKETCH_ROWS, 1) if trained and options.sketch else None,
        privacy=_privacy(options, facts, nodes) if trained and options.dp else None,
        disclosures=_disclosures(numbers, options, trained=trained),
        plan=plan.to_bytes(),
        base=MODEL if plan.task.endswith("score") else None,
        initial_digest=model_digest(initial),
    )
    if rules.privacy is None or reasons_against_noise(rules):
        return rules
    noised = with_least_noise(rules)
    return noised if options.clip is not None else _with_room_for_noise(noised, plan)


def may_mix(options: TrainOptions) -> bool:
    """Whether nodes' updates may decide which of them are mixed: noise on the release does not cover that choice."""
    return options.dp is None or options.dp_noise == "nodes"


def reasons_against_noise(rules: ModelRules) -> bool:
    """Whether the rules are unsound whatever the noise, so that no accountant need be asked."""
    return rules.loss == "cox-partial-likelihood" and bool(rules.privacy and rules.privacy.unit == "record")


def _privacy(options: TrainOptions, facts: PublicFacts, nodes: int) -> PrivacyRules:
    record, at_nodes = options.dp == "record", options.dp_noise == "nodes"
    sampled = SAMPLING * facts.rows / (nodes if at_nodes else 1)
    return PrivacyRules(
        unit=options.dp or "node",
        epsilon_thousandths=round(options.epsilon * 1000),
        delta_exponent=options.delta_exponent,
        sampling_micro=round(SAMPLING * MICRO) if record else MICRO,
        record_clip_micro=round(RECORD_CLIP * MICRO) if record else 0,
        divisor=max(1, round(sampled)) if record else 0,
        releases=options.steps,
        noise=options.dp_noise,
        charge=options.dp or "node",
        steps=options.local_steps if at_nodes else 1,
    )


def _with_room_for_noise(rules: ModelRules, plan: TrainingPlan) -> ModelRules:
    """Bound on a node's update, longer by what the node's own noise adds: cutting noise off would cut what is learnt.

    Noise of d lanes is longer than sqrt(d) + 3 deviations in one of a hundred updates at most.
    """
    privacy, numbers = rules.privacy, rules.numbers
    if privacy is None or not privacy.at_nodes:
        return rules
    of_a_step = (
        plan.local.learning_rate * privacy.step_multiplier_micro / MICRO * RECORD_CLIP / privacy.divisor
    )
    noise = of_a_step * sqrt(privacy.steps) * (sqrt(numbers.parameters) + 3)
    clip = numbers.clip_micro + round(noise * MICRO)
    radius = clip // 2 if rules.radius_micro else 0
    return replace(rules, numbers=replace(numbers, clip_micro=clip), radius_micro=radius)


def server_rules(options: TrainOptions) -> ServerRules:
    """Defaults of the server optimisers; `--server-rate` sets the rate of any."""
    momentum, second, adaptivity, rate = SERVERS.get(options.server_strategy, (0.0, 0.0, 0.0, 1.0))
    if options.dp == "record" and options.server_strategy == "fedavg":
        rate = PRIVATE_RATE
    chosen = (options.server_rate or rate, momentum, second, adaptivity)
    return ServerRules(*(round(value * MICRO) for value in chosen))


def tolerance(options: TrainOptions, nodes: int) -> int:
    """Bad values that the rule is asked to bear: a fifth of the nodes, each in a bucket of its own, as far as the rule
    can."""
    if options.robust_rule in ("none", "norm-bound"):
        return 0
    size = 1 if options.robust_rule == "sketch-filter" else options.bucket_size or nodes
    values = max(1, nodes // size)
    spare = 3 if options.robust_rule in ("krum", "multi-krum", "sketch-filter") else 1
    return max(0, min(corrupt_count(nodes, ASSUMED_BAD), (values - spare) // 2))


def _disclosures(numbers: RoundNumbers, options: TrainOptions, *, trained: bool) -> tuple[str, ...]:
    found = set(["no-corruption"] if numbers.corrupt[0] == 0 else [])
    size = numbers.bucket_size
    if size is not None and size < bucket_floor(size, numbers.corrupt):
        found |= {"simulated", "single-updates" if size == 1 else "small-buckets"}
    if trained and options.sketch:
        found |= {"simulated", "sketches"}
    return tuple(sorted(found))


def round_numbers(plan: TrainingPlan, nodes: int, facts: PublicFacts, options: TrainOptions) -> RoundNumbers:
    """The numbers of one model for a cohort of `nodes`."""
    trained = plan.task in TRAINED
    corrupt = (1, 5) if nodes >= SMALLEST_WITH_CORRUPTION else (0, 1)
    by_rows = plan.weights == "rows"
    private = trained and bool(options.dp)
    return RoundNumbers(
        parameters=plan.parameters,
        counters=plan.counters,
        slices=1,
        ring_bits=RING_BITS,
        value_bits=PRIVATE_VALUE_BITS if private else VALUE_BITS,
        clip_micro=round(_clip(options, facts) * MICRO),
        weight_cap=1 << max(0, (facts.largest - 1).bit_length()) if by_rows else 1,
        bucket_size=options.bucket_size if trained else None,
        min_cohort=corrupt_count(nodes, corrupt) + 3,
        corrupt=corrupt,
        dropout=(1, 10),
        noise_micro=0,
        steps_cap=_steps_cap(plan, facts) if trained and options.strategy == "fednova" else 0,
    )


def _clip(options: TrainOptions, facts: PublicFacts) -> float:
    """Bound on a node's update. Where a round is one record-level step it is on a sum of clipped slopes, and so wide
    that a sample of the largest site stays below it but for six standard deviations."""
    if options.one_step:
        expected = SAMPLING * facts.largest
        return RECORD_CLIP * (expected + 6 * sqrt(expected))
    if options.clip is not None:
        return options.clip
    if options.dp == "node":
        return PRIVATE_CLIP
    if options.robust_rule == "none":
        return CLIP
    return ROBUST_CLIP * (options.learning_rate or RATES[options.model]) * options.local_steps


def _steps_cap(plan: TrainingPlan, facts: PublicFacts) -> int:
    return max(1, ceil(normalisation(plan.local, plan.local.steps_over(facts.largest))))


def initial_artifact(plan: TrainingPlan) -> bytes:
    """The model before anything was learnt, as a federation's governors would compile it."""
    return Artifact.of(initial_parameters(plan, MODEL)).to_bytes()


def roster(names: Sequence[str], keys: Sequence[SiteKeys]) -> tuple[RosterEntry, ...]:
    """One hospital per site, each its own organisation."""
    return tuple(
        RosterEntry(name, name, "hospital", key.identity.public, key.encryption.public, "active")
        for name, key in zip(names, keys, strict=True)
    )


def write_policy(
    federation: str,
    entries: tuple[RosterEntry, ...],
    operator: bytes,
    evidence: EvidenceRules,
    models: Sequence[ModelRules],
    now: int,
) -> Policy:
    """The policy document, serial 1. `operator`: public key of whoever starts rounds."""
    ordered = tuple(sorted(models, key=lambda rules: rules.model))
    return Policy(
        version=POLICY_VERSION,
        federation=federation,
        serial=1,
        expires=now + LIFETIME,
        roster=entries,
        operators=(OperatorEntry("simulation", operator, ("backend", "rounds")),),
        access=AccessRules(template("access.cedar"), template("access.cedarschema")),
        evidence=evidence,
        enrolment=EnrolmentRules(1, tuple(sorted(KINDS))),
        models=ordered,
        regrouping=0,
        reopens=(),
    )
