"""What changes in a model, number by number, each with its consequence."""

from crimson_governance.changes.entry import Change
from crimson_governance.changes.knobs import KNOBS
from crimson_governance.figures import micro_in_words
from crimson_governance.vocabulary import DISCLOSURES, STRATEGIES, counted, listed
from crimson_protocol.policy.document import ModelRules
from crimson_protocol.policy.plan import MAX_PLAN, TrainingPlan


def model_changes(old: ModelRules, new: ModelRules) -> list[Change]:
    """Every change between two versions of a model's rules."""
    before, after = (old, _plan(old)), (new, _plan(new))
    found = [change for knob in KNOBS if (change := knob.change(before, after)) is not None]
    found += [
        Change("+", f"discloses {name}", consequence=DISCLOSURES[name])
        for name in new.disclosures
        if name not in old.disclosures
    ]
    found += [
        Change("-", f"no longer discloses {name}") for name in old.disclosures if name not in new.disclosures
    ]
    return found + _column_changes(before[1], after[1])


def _column_changes(old: TrainingPlan, new: TrainingPlan) -> list[Change]:
    before, after = _features(old), _features(new)
    found = [
        Change(
            "+",
            f"feature {name}",
            after=after[name],
            consequence="the nodes read this column of their own files",
        )
        for name in after
        if name not in before
    ]
    found += [Change("-", f"feature {name}", before=before[name]) for name in before if name not in after]
    found += [
        Change("~", f"feature {name}", before[name], after[name], "rows with another level cannot be used")
        for name in after
        if name in before and before[name] != after[name]
    ]
    if not found and list(before) != list(after):
        found.append(Change("~", "order of the features", consequence="coefficients stand in another order"))
    return found + _time_changes(old, new) + _range_changes(old, new)


def _time_changes(old: TrainingPlan, new: TrainingPlan) -> list[Change]:
    found = []
    for what, before, after, consequence in (
        ("time grid", old.grid_micro, new.grid_micro, "the Brier score is summed at other times"),
        ("time bins", old.cuts_micro, new.cuts_micro, "the model is another one: it needs a new name"),
    ):
        if before != after:
            then, now = (
                listed([micro_in_words(time) for time in times], "none") for times in (before, after)
            )
            found.append(Change("~", what, then, now, consequence))
    return found


def _range_changes(old: TrainingPlan, new: TrainingPlan) -> list[Change]:
    before, after = _ranges(old), _ranges(new)
    return [
        Change(
            "~", f"range of {name}", before.get(name, ""), after.get(name, ""), "it is scaled in another way"
        )
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def _ranges(plan: TrainingPlan) -> dict[str, str]:
    return {
        column: f"{micro_in_words(item.low_micro)} to {micro_in_words(item.high_micro)}"
        for column, item in zip(plan.numeric, plan.ranges, strict=False)
    }


def _features(plan: TrainingPlan) -> dict[str, str]:
    levels = {item.column: "levels " + ", ".join(item.levels) for item in plan.categorical}
    return {**dict.fromkeys(plan.numeric, "a number"), **levels}


def _plan(rules: ModelRules) -> TrainingPlan:
    return TrainingPlan.from_bytes(rules.plan, MAX_PLAN)


def summary(rules: ModelRules) -> str:
    """A new model in one line."""
    plan = _plan(rules)
    return f"task {plan.task} on {counted(plan.dimension, 'feature')}; {STRATEGIES[rules.strategy]}"
