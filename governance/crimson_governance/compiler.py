"""From a source to the policy that it means: canonical bytes that depend on what is said, not on how.

Nothing is read here but the source in memory. The same source, serial and time give the same bytes on every
machine, which is how a governor checks that a draft is what the source says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from crimson_governance.initial import initial_artifact
from crimson_governance.outcome import BadSource
from crimson_governance.public_files import read_public
from crimson_governance.source.folder import ACCESS, SCHEMA, Source
from crimson_governance.source.models import check_bounds, rules_of, start_of
from crimson_governance.source.plans import compile_plan
from crimson_protocol.policy.access import AccessRules
from crimson_protocol.policy.document import (
    MAX_POLICY,
    POLICY_VERSION,
    EnrolmentRules,
    EvidenceRules,
    OperatorEntry,
    Policy,
    ReopenOrder,
    RosterEntry,
)
from crimson_protocol.policy.plan import MAX_PLAN, TrainingPlan
from crimson_protocol.transcript import model_digest

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
    starts = {name: start_of(source.models, name, plans) for name in plans}
    models = [rules_of(filled, plans[name], starts[name]) for name, filled in sorted(source.models.items())]
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
        regrouping=form.regrouping,
        reopens=_reopens(source),
    )
    check_bounds(policy, "the policy", MAX_POLICY)
    return Compiled(policy, {model_digest(start): start for start in starts.values()})


def artifacts_of(policy: Policy) -> dict[bytes, bytes]:
    """The artifacts that a compiled policy's models start from, by digest, made anew from their plans.

    Raises BadSource where a model starts from another artifact than its plan and name give.
    """
    plans = {rules.model: TrainingPlan.from_bytes(rules.plan, MAX_PLAN) for rules in policy.models}
    found = {}
    for rules in policy.models:
        name = rules.base or rules.model
        start = initial_artifact(plans[name], name)
        if model_digest(start) != rules.initial_digest:
            text = f"{rules.model} does not start from what its plan gives"
            raise BadSource(text, "compile the policy from its source")
        found[rules.initial_digest] = start
    return found


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
