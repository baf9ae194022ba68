"""The rules of one model: what its file says, and what follows from it."""

from collections.abc import Mapping

from crimson_governance.accounting import overspent, with_least_noise, with_releases
from crimson_governance.initial import initial_artifact
from crimson_governance.outcome import BadSource
from crimson_governance.source.model_forms import ModelForm, PrivacyForm
from crimson_governance.source.plans import SCORED
from crimson_governance.source.reading import Filled
from crimson_governance.source.yaml_tree import Place
from crimson_protocol.artifact import MAX_PARAMETERS
from crimson_protocol.errors import CallerFault, PeerFault
from crimson_protocol.policy.document import MAX_POLICY, ModelRules, ServerRules, SketchRules
from crimson_protocol.policy.plan import TrainingPlan
from crimson_protocol.policy.privacy_rules import PrivacyRules
from crimson_protocol.transcript import model_digest
from crimson_protocol.wire.messages.advertise import RoundNumbers
from crimson_protocol.wire.records import Record

LOSSES = {"cox": "cox-partial-likelihood", "hazard": "discrete-hazard"}

Filling = Mapping[str, Filled[ModelForm]]
Plans = Mapping[str, TrainingPlan]


def start_of(models: Filling, name: str, plans: Plans) -> bytes:
    """The artifact that a model's first round starts from: its own, or that of the model it is based on."""
    filled = models[name]
    base, scale = filled.form.base, filled.form.plan.scale_model
    if base is not None and base not in plans:
        raise filled.fault(("base",), f"there is no model {base!r}")
    if scale is not None and (scale not in plans or plans[scale].task != "moments"):
        raise filled.fault(("plan", "scale_model"), f"{scale!r} is no model with the task moments")
    for place, other in ((("base",), base), (("plan", "scale_model"), scale)):
        if other is not None and _features(plans[other]) != _features(plans[name]):
            text = f"{other} has other features than {name}: both need the same, in one order"
            raise filled.fault(place, text)
    if base is not None:
        _check_base(filled, plans[name], plans[base])
    parameters = plans[base or name].parameters
    if 4 * parameters > MAX_PARAMETERS:
        raise filled.fault(("plan",), f"{parameters} parameters are more than a model may have")
    return initial_artifact(plans[base or name], base or name)


def _check_base(filled: Filled[ModelForm], plan: TrainingPlan, base: TrainingPlan) -> None:
    """BadSource where a score reads the parameters of its base in another way than the base was trained."""
    if plan.task in SCORED and base.task != SCORED[plan.task]:
        raise filled.fault(("base",), f"{plan.task} scores a model with the task {SCORED[plan.task]}")
    for key in ("scale_model", "ranges", "hidden"):
        if getattr(plan, key) != getattr(base, key):
            raise filled.fault(("plan", key), f"{filled.form.base} has another {key}: write the same")
    if plan.cuts_micro != base.cuts_micro:
        raise filled.fault(("plan", "cuts"), f"{filled.form.base} has other cuts: write the same")


def _features(plan: TrainingPlan) -> tuple[object, ...]:
    """What coefficients and moments belong to, in order."""
    return plan.numeric, plan.categorical


def rules_of(filled: Filled[ModelForm], plan: TrainingPlan, start: bytes) -> ModelRules:
    """The rules record. Raises BadSource for a value that no record can hold, and for a budget that is too small."""
    form = filled.form
    rules = ModelRules(
        model=form.model,
        strategy=form.strategy,
        alternatives=_alternatives(filled),
        loss=LOSSES.get(plan.task, "none") if form.loss is None else form.loss,
        robust_rule=form.robust.rule,
        robust_tolerance=form.robust.tolerance,
        mixing=int(form.robust.mixing),
        radius_micro=form.robust.radius,
        enclave_clip=int(form.robust.enclave_clip),
        server=_server(form),
        numbers=_numbers(form, plan),
        sketch=SketchRules(form.sketch.buckets, form.sketch.rows, form.sketch.every) if form.sketch else None,
        privacy=_privacy(form.privacy, plan) if form.privacy else None,
        disclosures=tuple(form.disclosures),
        plan=plan.to_bytes(),
        base=form.base,
        initial_digest=model_digest(start),
    )
    check_bounds(rules, filled.name, MAX_POLICY)
    rules = _budgeted(filled, rules)
    check_bounds(rules, filled.name, MAX_POLICY)
    return rules


def _alternatives(filled: Filled[ModelForm]) -> tuple[str, ...]:
    form = filled.form
    for name in form.alternatives:
        if name == form.strategy or form.alternatives.count(name) > 1:
            raise filled.fault(("alternatives",), f"{name} is named twice: each strategy once")
    return tuple(sorted(form.alternatives))


def _server(form: ModelForm) -> ServerRules:
    server = form.server
    return ServerRules(server.rate, server.momentum, server.second_moment, server.adaptivity, server.decay)


def _numbers(form: ModelForm, plan: TrainingPlan) -> RoundNumbers:
    numbers = form.numbers
    return RoundNumbers(
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
        noise_micro=numbers.noise or 0,
        steps_cap=numbers.steps_cap,
    )


def _privacy(form: PrivacyForm, plan: TrainingPlan) -> PrivacyRules:
    return PrivacyRules(
        unit=form.unit,
        epsilon_thousandths=form.epsilon,
        delta_exponent=form.delta_exponent,
        sampling_micro=form.sampling,
        record_clip_micro=form.record_clip,
        divisor=form.divisor,
        releases=form.releases or 0,
        noise=form.noise,
        charge=form.charge or form.unit,
        step_multiplier_micro=form.step_noise or 0,
        steps=plan.steps if form.noise == "nodes" else 1,
    )


def _budgeted(filled: Filled[ModelForm], rules: ModelRules) -> ModelRules:
    """The rules with what follows from a budget: noise from releases, or releases from noise. Where both are written
    the releases must be affordable (U21)."""
    privacy = filled.form.privacy
    if privacy is None:
        return rules
    noise, key = _written_noise(filled, privacy)
    place: Place = ("privacy",) if privacy.releases is None else ("privacy", "releases")
    if noise is None and privacy.releases is None:
        raise filled.fault(place, f"write releases, how many rounds the budget must last for, or {key}")
    if noise is None:
        try:
            return with_least_noise(rules)
        except CallerFault as fault:
            raise filled.fault(place, fault.text) from None
    if privacy.releases is None:
        return with_releases(rules)
    reason = overspent(rules)
    if reason is not None:
        raise filled.fault(place, reason)
    return rules


def _written_noise(filled: Filled[ModelForm], privacy: PrivacyForm) -> tuple[int | None, str]:
    """The noise that a source writes, if it does, and the key for it: each place that noise enters has its own."""
    added = filled.form.numbers.noise
    if privacy.noise != "nodes":
        return added, "numbers.noise"
    if added:
        text = "the enclave adds no noise where nodes do: write privacy.step_noise, or releases alone"
        raise filled.fault(("numbers", "noise"), text)
    return privacy.step_noise, "privacy.step_noise"


def check_bounds(record: Record, name: str, cap: int) -> None:
    """BadSource where a record breaks a bound that its own parser checks."""
    try:
        type(record).from_bytes(record.to_bytes(), cap)
    except PeerFault as fault:
        raise BadSource(f"{name}: {fault.text}", "docs/PROTOCOL.md, Policy, lists every bound") from None
