"""The training plan that a model's file describes."""

from crimson_governance.source.forms import ModelForm, PlanForm
from crimson_governance.source.reading import Filled
from crimson_protocol.errors import PeerFault
from crimson_protocol.policy.plan import MAX_PLAN, Levels, TrainingPlan

SPLIT_COLUMN = "crimson_split"
"""Reserved in every site's file: which rows are held out."""
_TRAINED, _SCORED = "cox", "cox-score"


def compile_plan(filled: Filled[ModelForm]) -> TrainingPlan:
    """The plan record. Raises BadSource where a node could not carry the plan out."""
    form = filled.form.plan
    plan = TrainingPlan(
        task=form.task,
        time_column=form.time_column,
        event_column=form.event_column,
        numeric=tuple(form.numeric),
        categorical=tuple(Levels(item.column, tuple(item.levels)) for item in form.categorical),
        steps=form.steps,
        learning_rate_micro=form.learning_rate,
        l2_micro=form.l2,
        weights=form.weights,
        scale_model=form.scale_model,
        grid_micro=tuple(form.grid),
    )
    _check_columns(filled, plan)
    _check_settings(filled, form)
    try:
        return TrainingPlan.from_bytes(plan.to_bytes(), MAX_PLAN)
    except PeerFault as fault:
        raise filled.fault(("plan",), fault.text) from None


def _check_columns(filled: Filled[ModelForm], plan: TrainingPlan) -> None:
    for column in plan.columns:
        if plan.columns.count(column) > 1:
            raise filled.fault(("plan",), f"the column {column!r} has two roles")
        if column == SPLIT_COLUMN:
            raise filled.fault(
                ("plan",), f"{SPLIT_COLUMN} is reserved for the split into training and held-out rows"
            )
    for place, item in enumerate(plan.categorical):
        if list(item.levels) != sorted(set(item.levels)) or not item.levels:
            raise filled.fault(
                ("plan", "categorical", place, "levels"),
                "the levels must be sorted and distinct: the first is the baseline",
            )
    if not plan.dimension:
        raise filled.fault(
            ("plan",), "no feature is left: name a numeric column, or two levels of a text column"
        )


def _check_settings(filled: Filled[ModelForm], form: PlanForm) -> None:
    if form.task == _TRAINED and not (form.steps and form.learning_rate):
        raise filled.fault(("plan",), "the task cox needs steps and a learning_rate above 0")
    if form.task == _SCORED and not form.grid:
        raise filled.fault(("plan",), "the task cox-score needs a grid of times")
    if form.task == _SCORED and filled.form.base is None:
        raise filled.fault(("plan",), "the task cox-score needs the model that it scores as base")
    if form.grid != sorted(set(form.grid)) or (form.grid and not form.grid[0]):
        raise filled.fault(("plan", "grid"), "the grid's times must ascend and begin above 0")
