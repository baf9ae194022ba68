"""A policy in plain words: who may do what, what is computed on which columns, who sees what."""

from collections.abc import Sequence
from dataclasses import dataclass

from crimson_governance.budgets import budget_figures
from crimson_governance.changes.of_policy import Edition, key_words
from crimson_governance.figures import (
    bucket_figures,
    cohort_figures,
    micro_in_words,
    odds_in_words,
    robust_figures,
    sketch_figures,
)
from crimson_governance.model_words import budget_words, robust_words, sketch_words, strategy_words
from crimson_governance.outcome import Refused
from crimson_governance.vocabulary import (
    DISCLOSURES,
    STATUSES,
    TASKS,
    counted,
    date_of,
    listed,
)
from crimson_protocol.policy.access import Decision
from crimson_protocol.policy.decisions import may_export, may_join, may_release, may_start, may_train
from crimson_protocol.policy.document import ModelRules, Policy, RosterEntry
from crimson_protocol.policy.plan import MAX_PLAN, TRAINED, TrainingPlan

FIRST_ROUND = 1


@dataclass(frozen=True)
class Section:
    """A heading and its sentences."""

    title: str
    sentences: tuple[str, ...]


def explain(edition: Edition) -> list[Section]:
    """The whole policy."""
    policy = edition.policy
    sections = [_federation(edition), _nodes(policy), _operators(policy), _enclave(policy)]
    return sections + [explain_model(policy, rules) for rules in policy.models]


def explain_model(policy: Policy, rules: ModelRules) -> Section:
    """One model: what is computed, what is seen, how many may drop or collude, what is disclosed."""
    sentences = [*_training(rules), *strategy_words(rules), *_cohort(policy, rules), *_sight(policy, rules)]
    sentences += robust_words(rules, robust_figures(policy, rules))
    sentences += sketch_words(rules, sketch_figures(rules))
    sentences += budget_words(rules, budget_figures(policy, rules))
    sentences += [f"Declared: {name} — {DISCLOSURES[name]}." for name in rules.disclosures]
    return Section(f"Model {rules.model}", (*sentences, *_release(policy, rules)))


def explain_node(policy: Policy, entry: RosterEntry) -> Section:
    """One node: whether it may take part, in what, by which rule, and its words."""
    sentences = [
        f"{entry.node} of {entry.organisation} is a {entry.kind.replace('_', ' ')} and {entry.status}: it "
        f"{STATUSES[entry.status]}.",
        f"Its keys: {key_words(entry.identity_key, entry.encryption_key)}.",
        f"Joining: {_decided(may_join(policy, entry))}.",
    ]
    for rules in policy.models:
        plan = _plan(rules)
        sentences.append(f"Training {rules.model}: {_decided(may_train(policy, entry, rules.model))}.")
        sentences.append(f"For {rules.model} it reads the columns {listed(plan.columns)} of its own file.")
    return Section(f"Node {entry.node}", tuple(sentences))


def _federation(edition: Edition) -> Section:
    policy, parties = edition.policy, edition.parties
    signs = f"{parties.threshold} of {listed(parties.names())} must sign a change"
    return Section(
        f"Federation {policy.federation}, {f'policy {policy.serial}' if policy.serial else 'a draft'}",
        (
            f"It holds until {date_of(policy.expires)}.",
            f"{signs}; {parties.publisher.name} keeps it fresh and can change nothing in it.",
        ),
    )


def _nodes(policy: Policy) -> Section:
    sentences = [
        f"{entry.node} ({entry.organisation}, {entry.kind.replace('_', ' ')}): {entry.status}"
        f"{'' if may_join(policy, entry).allowed else '; no access rule permits it to be listed'}."
        for entry in policy.roster
    ]
    kinds = [kind.replace("_", " ") for kind in policy.enrolment.kinds]
    approvals = counted(policy.enrolment.approvals, "operator")
    sentences.append(
        f"A {' or '.join(kinds) or 'node of no kind'} may ask to join; {approvals} must have compared its words, "
        "and then the governors list it."
    )
    return Section("Nodes", tuple(sentences))


def _operators(policy: Policy) -> Section:
    sentences = []
    for operator in policy.operators:
        models = [rules.model for rules in policy.models]
        starts = [name for name in models if may_start(policy, operator, name, FIRST_ROUND).allowed]
        takes = [name for name in models if may_export(policy, operator, name, FIRST_ROUND).allowed]
        sentences.append(
            f"{operator.name} (roles: {listed(operator.roles, 'none')}) may start rounds of "
            f"{listed(starts, 'no model')}, and take released models of {listed(takes, 'no model')}."
        )
    return Section("Operators", tuple(sentences or ["There is none: nobody may start a round."]))


def _enclave(policy: Policy) -> Section:
    evidence = policy.evidence
    sentences = [
        f"Nodes work with an enclave that proves itself by {listed(evidence.kinds, 'nothing')}, in "
        f"{counted(len(evidence.measurements), 'named build')}."
    ]
    if "sim" in evidence.kinds:
        sentences.append(
            "sim is SIMULATED: a software key vouches for the enclave, no hardware does. Whoever runs its machine "
            "could see what the enclave sees."
        )
    if evidence.measures:
        sentences.append(f"It must hold these measures of isolation: {listed(evidence.measures)}.")
    else:
        sentences.append("No measure of isolation is asked of it.")
    return Section("The enclave", tuple(sentences))


def _training(rules: ModelRules) -> list[str]:
    plan = _plan(rules)
    columns = [*plan.numeric, *(f"{item.column} ({', '.join(item.levels)})" for item in plan.categorical)]
    sentences = [
        f"Each node {TASKS[plan.task]}.",
        f"It reads time in {plan.time_column!r}, events in {plan.event_column!r}, and {listed(columns)}.",
    ]
    if plan.scale_model:
        sentences.append(f"Features are standardised by what {plan.scale_model} released.")
    if plan.ranges:
        sentences.append(f"Numbers are scaled by public ranges: {listed(_ranges(plan))}.")
    if plan.task in TRAINED:
        sentences += _steps(rules, plan)
    if rules.base:
        sentences.append(f"It starts from the current {rules.base}.")
    return sentences


def _ranges(plan: TrainingPlan) -> list[str]:
    return [
        f"{column} from {micro_in_words(item.low_micro)} to {micro_in_words(item.high_micro)}"
        for column, item in zip(plan.numeric, plan.ranges, strict=True)
    ]


def _steps(rules: ModelRules, plan: TrainingPlan) -> list[str]:
    """How a node moves the model, and what the model looks like."""
    rate, l2 = micro_in_words(plan.learning_rate_micro), micro_in_words(plan.l2_micro)
    privacy = rules.privacy
    if privacy is not None and privacy.unit == "record" and not privacy.at_nodes:
        sentences = [f"A round takes one step, in the enclave, over the sites' summed slopes, with l2 {l2}."]
    else:
        kind = "pass" if plan.batch else "step"
        steps = counted(plan.steps, kind, "passes" if plan.batch else None)
        batches = f", {plan.batch} rows at a time" if plan.batch else ""
        sentences = [f"A round takes {steps} with learning rate {rate} and l2 {l2}{batches}."]
    if plan.momentum_micro:
        sentences.append(f"Local steps have momentum {micro_in_words(plan.momentum_micro)}.")
    if plan.proximal_micro:
        held = micro_in_words(plan.proximal_micro)
        sentences.append(f"They are held near the last model, with weight {held}.")
    if plan.cuts_micro:
        cuts = listed([micro_in_words(cut) for cut in plan.cuts_micro])
        layers = (
            "layers of " + listed([str(width) for width in plan.hidden]) + " units" if plan.hidden else ""
        )
        sentences.append(f"Time is cut at {cuts}; {f'hidden {layers}' if layers else 'the model is linear'}.")
    if not plan.losses:
        sentences.append("Updates carry no loss.")
    return sentences


def _cohort(policy: Policy, rules: ModelRules) -> list[str]:
    members = [policy.name(index) for index in policy.members(rules.model)]
    sentences = [f"May take part: {listed(members)}."]
    for row in cohort_figures(policy, rules):
        sentences.append(
            f"Of {counted(row.n, 'node')}, {row.corrupt} may collude with a broken enclave and learn no single update; "
            f"a sum is opened over at least {row.least}; {max(0, row.drops)} may drop out."
        )
    return sentences


def _sight(policy: Policy, rules: ModelRules) -> list[str]:
    size, buckets = rules.numbers.bucket_size, bucket_figures(policy, rules)
    if size == 1:
        seen = "The enclave sees each node's single update; nobody outside it does."
    elif buckets is None:
        seen = "The enclave sees the sum over all accepted nodes, and no part of it."
    else:
        seen = (
            f"The enclave sees {counted(buckets.count, 'sum')} over buckets of {size} nodes; that a bucket holds more "
            f"colluding nodes than allowed for: {odds_in_words(buckets.odds)}."
        )
    return [seen, "The gateway sees masked vectors alone."]


def _release(policy: Policy, rules: ModelRules) -> list[str]:
    nodes = len(policy.members(rules.model))
    decision = may_release(
        policy,
        rules.model,
        round=FIRST_ROUND,
        accepted=nodes,
        dropped=0,
        simulated="sim" in policy.evidence.kinds,
    )
    return [f"Release of a round with all {counted(nodes, 'node')}: {_decided(decision)}."]


def _decided(decision: Decision) -> str:
    if decision.allowed:
        return f"allowed by {listed(decision.policies)}"
    return f"denied: {decision.reason}"


def _plan(rules: ModelRules) -> TrainingPlan:
    return TrainingPlan.from_bytes(rules.plan, MAX_PLAN)


def chosen(edition: Edition, model: str | None, node: str | None) -> Sequence[Section]:
    """The sections that were asked for; all of them where nothing was. Raises PolicyRefusal and Refused for a model
    or node that is not there."""
    policy = edition.policy
    found = []
    if model is not None:
        found.append(explain_model(policy, policy.rules(model)))
    if node is not None:
        entries = [entry for entry in policy.roster if entry.node == node]
        if not entries:
            raise Refused(f"{node} is not listed", "crimson policy show lists the nodes", "not-listed")
        found += [explain_node(policy, entry) for entry in entries]
    return found or explain(edition)
