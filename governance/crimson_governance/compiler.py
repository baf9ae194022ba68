"""From a source to the policy that it means: canonical bytes that depend on what is said, not on how.

Nothing is read here but the source in memory. The same source, serial and time give the same bytes on every
machine, which is how a governor checks that a draft is what the source says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from crimson_governance.outcome import BadSource
from crimson_governance.public_files import read_public
from crimson_governance.source.folder import ACCESS, SCHEMA, Source
from crimson_governance.source.forms import ModelForm
from crimson_governance.source.plans import compile_plan
from crimson_governance.source.reading import Filled
from crimson_protocol.artifact import MAX_PARAMETERS, Artifact
from crimson_protocol.errors import PeerFault
from crimson_protocol.policy.access import AccessRules
from crimson_protocol.policy.document import (
    MAX_POLICY,
    POLICY_VERSION,
    EnrolmentRules,
    EvidenceRules,
    ModelRules,
    OperatorEntry,
    Policy,
    PrivacyRules,
    ReopenOrder,
    RosterEntry,
    SketchRules,
)
from crimson_protocol.policy.plan import MAX_PLAN, TrainingPlan
from crimson_protocol.transcript import model_digest
from crimson_protocol.wire.messages.advertise import RoundNumbers
from crimson_protocol.wire.records import Record

DAY = 86_400
LONGEST_DAYS = 3650


@dataclass(frozen=True)
class Compiled:
    """A policy, and the artifacts that its models start from, by digest."""

    policy: Policy
    artifacts: Mapping[bytes, bytes] = field(repr=False)


def compile_source(source: Source, serial: int, now: int) -> Compiled:
    """The policy that a source means as version `serial`, made at `now` (Unix seconds).

    Raises BadSource for a value that no policy can hold or that contradicts another, BadInput for a file of
    keys that holds none. Whether the policy is sound is another question: crimson_protocol.policy.soundness.
    """
    plans = {name: compile_plan(filled) for name, filled in source.models.items()}
    starts = {name: _start(source, name, plans) for name in plans}
    models = [_model(filled, plans[name], starts[name]) for name, filled in sorted(source.models.items())]
    form = source.federation.form
    policy = Policy(
        version=POLICY_VERSION,
        federation=form.federation,
        serial=serial,
        expires=_expires(source, now),
        roster=tuple(
            RosterEntry(
                node.node, node.organisation, node.kind, node.identity_key, node.encryption_key, node.status
            )
            for node in source.roster.form.nodes
        ),
        operators=_operators(source),
        access=AccessRules(source.text(ACCESS), source.text(SCHEMA)),
        evidence=_evidence(source),
        enrolment=EnrolmentRules(form.enrolment.approvals, tuple(form.enrolment.kinds)),
        models=tuple(models),
        reopens=_reopens(source),
    )
    _check_bounds(policy, "the policy", MAX_POLICY)
    return Compiled(policy, {model_digest(start): start for start in starts.values()})


def artifacts_of(policy: Policy) -> dict[bytes, bytes]:
    """The artifacts that a compiled policy's models start from, by digest, made anew from their plans.

    Raises BadSource where a model starts from another artifact than one of zeros.
    """
    plans = {rules.model: TrainingPlan.from_bytes(rules.plan, MAX_PLAN) for rules in policy.models}
    found = {}
    for rules in policy.models:
        start = initial_artifact(plans[rules.base or rules.model].parameters)
        if model_digest(start) != rules.initial_digest:
            raise BadSource(f"{rules.model} does not start from zeros", "compile the policy from its source")
        found[rules.initial_digest] = start
    return found


def initial_artifact(parameters: int) -> bytes:
    """A model before anything was learnt: zeros."""
    return Artifact.of(np.zeros(parameters, np.float32)).to_bytes()


def _start(source: Source, name: str, plans: Mapping[str, TrainingPlan]) -> bytes:
    """The artifact that a model's first round starts from: its own, or that of the model it is based on."""
    filled = source.models[name]
    base, scale = filled.form.base, filled.form.plan.scale_model
    if base is not None and base not in plans:
        raise filled.fault(("base",), f"there is no model {base!r}")
    if scale is not None and (scale not in plans or plans[scale].task != "moments"):
        raise filled.fault(("plan", "scale_model"), f"{scale!r} is no model with the task moments")
    for key, other in (("base", base), ("scale_model", scale)):
        if other is not None and _features(plans[other]) != _features(plans[name]):
            place = (key,) if key == "base" else ("plan", key)
            raise filled.fault(
                place, f"{other} has other features than {name}: both need the same, in one order"
            )
    parameters = plans[base or name].parameters
    if 4 * parameters > MAX_PARAMETERS:
        raise filled.fault(("plan",), f"{parameters} parameters are more than a model may have")
    return initial_artifact(parameters)


def _features(plan: TrainingPlan) -> tuple[object, ...]:
    """What coefficients and moments belong to, in order."""
    return plan.numeric, plan.categorical


def _model(filled: Filled[ModelForm], plan: TrainingPlan, start: bytes) -> ModelRules:
    form, numbers = filled.form, filled.form.numbers
    rules = ModelRules(
        model=form.model,
        strategy=form.strategy,
        loss=form.loss,
        robust_rule=form.robust.rule,
        robust_tolerance=form.robust.tolerance,
        enclave_clip=int(form.robust.enclave_clip),
        numbers=RoundNumbers(
            parameters=plan.parameters,
            counters=plan.counters,
            slices=numbers.slices,
            ring_bits=numbers.ring_bits,
            value_bits=numbers.value_bits,
            clip_micro=numbers.clip,
            weight_cap=numbers.weight_cap,
            bucket_size=numbers.bucket_size,
            min_cohort=numbers.min_cohort,
            corrupt=numbers.corrupt,
            dropout=numbers.dropout,
            noise_micro=numbers.noise,
        ),
        sketch=SketchRules(form.sketch.buckets, form.sketch.rows) if form.sketch else None,
        privacy=_privacy(form),
        disclosures=tuple(form.disclosures),
        plan=plan.to_bytes(),
        base=form.base,
        initial_digest=model_digest(start),
    )
    _check_bounds(rules, filled.name, MAX_POLICY)
    return rules


def _privacy(form: ModelForm) -> PrivacyRules | None:
    if form.privacy is None:
        return None
    found = form.privacy
    per_bucket = int(found.noise_per_bucket)
    return PrivacyRules(
        found.unit, found.epsilon, found.delta_exponent, found.noise, per_bucket, found.charge
    )


def _operators(source: Source) -> tuple[OperatorEntry, ...]:
    entries = [
        OperatorEntry(item.name, item.key, tuple(item.roles)) for item in source.federation.form.operators
    ]
    for what, values in (
        ("name", [entry.name for entry in entries]),
        ("key", [entry.key for entry in entries]),
    ):
        if len(set(values)) < len(values):
            raise source.federation.fault(("operators",), f"two operators have one {what}")
    return tuple(sorted(entries, key=lambda entry: entry.name))


def _evidence(source: Source) -> EvidenceRules:
    form = source.federation.form.evidence
    roots = [read_public(path, source.files[path]) for path in form.simulated_roots]
    if len({root.to_bytes() for root in roots}) < len(roots):
        raise source.federation.fault(("evidence", "simulated_roots"), "one root stands here twice")
    ordered = tuple(sorted(roots, key=lambda root: root.to_bytes()))
    return EvidenceRules(tuple(form.kinds), tuple(form.measurements), ordered, tuple(form.measures))


def _reopens(source: Source) -> tuple[ReopenOrder, ...]:
    orders = [
        ReopenOrder(item.model, item.round, item.model_digest) for item in source.federation.form.reopens
    ]
    for place, order in enumerate(orders):
        if order.model not in source.models:
            raise source.federation.fault(("reopens", place, "model"), f"there is no model {order.model!r}")
    if len({order.model for order in orders}) < len(orders):
        raise source.federation.fault(("reopens",), "one model is reopened twice")
    return tuple(sorted(orders, key=lambda order: order.model))


def _expires(source: Source, now: int) -> int:
    filled, form = source.federation, source.federation.form
    if (form.expires is None) == (form.lifetime_days is None):
        raise filled.fault((), "write either lifetime_days or expires, and not both")
    if form.expires is not None:
        if form.expires <= now:
            raise filled.fault(("expires",), "the day is past")
        return form.expires
    if form.lifetime_days is None or not 1 <= form.lifetime_days <= LONGEST_DAYS:
        raise filled.fault(("lifetime_days",), f"a policy lasts 1 to {LONGEST_DAYS} days")
    return now + DAY * form.lifetime_days


def _check_bounds(record: Record, name: str, cap: int) -> None:
    """BadSource where a record breaks a bound that its own parser checks."""
    try:
        type(record).from_bytes(record.to_bytes(), cap)
    except PeerFault as fault:
        raise BadSource(f"{name}: {fault.text}", "docs/PROTOCOL.md, Policy, lists every bound") from None
