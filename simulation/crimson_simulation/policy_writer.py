"""Writes the policy of a simulated federation, which governs itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crimson_governance.templates import template
from crimson_node.learning.contribution import counters_of
from crimson_node.learning.plan import MICRO, Levels, TrainingPlan
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
    PrivacyRules,
    RosterEntry,
    SketchRules,
)
from crimson_protocol.secret.keys import BoxKey, IdentityKey
from crimson_protocol.transcript import model_digest
from crimson_protocol.wire.messages.advertise import RoundNumbers
from crimson_simulation.dataset import PooledData
from crimson_simulation.options import COMPARED, TrainOptions

LIFETIME = 30 * 86_400
CLIP = 8.0
VALUE_BITS, RING_BITS = 16, 32
MODEL, MOMENTS, SCORE = "survival", "survival.moments", "survival.score"
SMALLEST_WITH_CORRUPTION = 4


@dataclass(frozen=True)
class SiteKeys:
    """The two keys that a node would have made at its site."""

    identity: IdentityKey
    encryption: BoxKey


def training_plan(
    task: str, pooled: PooledData, options: TrainOptions, grid_micro: tuple[int, ...]
) -> TrainingPlan:
    """The plan of one task over the file's declaration."""
    declaration = pooled.declaration
    return TrainingPlan(
        task=task,
        time_column=declaration.time_column,
        event_column=declaration.event_column,
        numeric=declaration.numeric,
        categorical=tuple(Levels(column, levels) for column, levels in declaration.categorical),
        steps=options.local_steps,
        learning_rate_micro=round(options.learning_rate * MICRO),
        l2_micro=round(options.l2 * MICRO),
        weights=options.weights,
        scale_model=None if task == "moments" else MOMENTS,
        grid_micro=grid_micro,
    )


def model_rules(
    plan: TrainingPlan, name: str, numbers: RoundNumbers, options: TrainOptions, initial: bytes
) -> ModelRules:
    """The rules of one model. Only the trained model carries strategy, privacy and sketches."""
    trained = plan.task == "cox"
    privacy = sketch = None
    if trained and options.dp:
        epsilon, exponent = round(options.epsilon * 1000), options.delta_exponent
        privacy = PrivacyRules(options.dp, epsilon, exponent, 0, 0, options.dp)
    if trained and options.sketch:
        sketch = SketchRules(options.sketch, 4)
    disclosures = set(["no-corruption"] if numbers.corrupt[0] == 0 else [])
    size = numbers.bucket_size
    if size is not None and size < bucket_floor(size, numbers.corrupt):
        disclosures |= {"simulated", "single-updates" if size == 1 else "small-buckets"}
    if sketch:
        disclosures |= {"simulated", "sketches"}
    return ModelRules(
        model=name,
        strategy=("fedavg" if options.strategy in COMPARED else options.strategy) if trained else "sum",
        loss="cox-partial-likelihood" if trained else "none",
        robust_rule=options.strategy if trained and options.strategy in COMPARED else "none",
        robust_tolerance=0,
        enclave_clip=0,
        numbers=numbers,
        sketch=sketch,
        privacy=privacy,
        disclosures=tuple(sorted(disclosures)),
        plan=plan.to_bytes(),
        base=MODEL if plan.task == "cox-score" else None,
        initial_digest=model_digest(initial),
    )


def round_numbers(plan: TrainingPlan, nodes: int, largest_site: int, options: TrainOptions) -> RoundNumbers:
    """The numbers of one model for a cohort of `nodes`."""
    trained = plan.task == "cox"
    corrupt = (1, 5) if nodes >= SMALLEST_WITH_CORRUPTION else (0, 1)
    weight_cap = 1 << max(0, (largest_site - 1).bit_length()) if options.weights == "rows" else 1
    return RoundNumbers(
        parameters=plan.declaration.dimension if trained else 0,
        counters=counters_of(plan),
        slices=1,
        ring_bits=RING_BITS,
        value_bits=VALUE_BITS,
        clip_micro=round(CLIP * MICRO),
        weight_cap=weight_cap,
        bucket_size=options.bucket_size if trained else None,
        min_cohort=corrupt_count(nodes, corrupt) + 3,
        corrupt=corrupt,
        dropout=(1, 10),
        noise_micro=0,
    )


def initial_artifact(dimension: int) -> bytes:
    """The model before anything was learnt: zeros."""
    return Artifact.of(np.zeros(dimension, np.float32)).to_bytes()


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
        reopens=(),
    )
