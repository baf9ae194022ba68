"""The training plan that a model's file describes."""

from collections.abc import Iterator

from crimson_governance.source.model_forms import ModelForm
from crimson_governance.source.reading import Filled
from crimson_governance.source.yaml_tree import Place
from crimson_protocol.errors import PeerFault
from crimson_protocol.policy.plan import MAX_PLAN, TRAINED, Levels, Range, TrainingPlan

SPLIT_COLUMN = "crimson_split"
"""Reserved in every site's file: which rows are held out."""
SCORED = {"cox-score": "cox", "hazard-score": "hazard"}
"""Each task that scores, and the task of the models that it can score."""
_BINNED = ("hazard", "hazard-score")

Fault = tuple[Place, str]


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
        batch=form.batch,
        proximal_micro=form.proximal,
        momentum_micro=form.momentum,
        cuts_micro=tuple(form.cuts),
        hidden=tuple(form.hidden),
        ranges=tuple(Range(item.low, item.high) for item in form.ranges),
        losses=form.losses,
    )
    for check in (_columns, _steps, _times, _ranges):
        for place, text in check(filled.form, plan):
            raise filled.fault(("plan", *place), text)
    try:
        return TrainingPlan.from_bytes(plan.to_bytes(), MAX_PLAN)
    except PeerFault as fault:
        raise filled.fault(("plan",), fault.text) from None


def _columns(_: ModelForm, plan: TrainingPlan) -> Iterator[Fault]:
    for column in plan.columns:
        if plan.columns.count(column) > 1:
            yield (), f"the column {column!r} has two roles"
        if column == SPLIT_COLUMN:
            yield (), f"{SPLIT_COLUMN} is reserved for the split into training and held-out rows"
    for place, item in enumerate(plan.categorical):
        if list(item.levels) != sorted(set(item.levels)) or not item.levels:
            text = "the levels must be sorted and distinct: the first is the baseline"
            yield ("categorical", place, "levels"), text
    if not plan.dimension:
        yield (), "no feature is left: name a numeric column, or two levels of a text column"


def _steps(form: ModelForm, plan: TrainingPlan) -> Iterator[Fault]:
    if plan.task in TRAINED and not (plan.steps and plan.learning_rate_micro):
        yield (), f"the task {plan.task} needs steps and a learning_rate above 0"
    settings = {"batch": plan.batch, "proximal": plan.proximal_micro, "momentum": plan.momentum_micro}
    for name, value in settings.items():
        if value and plan.task not in TRAINED:
            yield (name,), f"the task {plan.task} takes no steps, and so no {name}"
    if plan.task == "cox" and plan.batch:
        yield ("batch",), "a risk set holds all rows, so the task cox takes no batches"
    if plan.task in SCORED and form.base is None:
        yield (), f"the task {plan.task} needs the model that it scores as base"


def _times(_: ModelForm, plan: TrainingPlan) -> Iterator[Fault]:
    if plan.task in SCORED and not plan.grid_micro:
        yield (), f"the task {plan.task} needs a grid of times"
    if (plan.task in _BINNED) is not bool(plan.cuts_micro):
        yield (), "cuts, the upper ends of time bins, belong to the tasks hazard and hazard-score"
    if plan.hidden and plan.task not in _BINNED:
        yield ("hidden",), f"the task {plan.task} is linear: it has no hidden layers"
    if 0 in plan.hidden:
        yield ("hidden",), "a hidden layer has at least one unit"
    for key, times in (("grid", plan.grid_micro), ("cuts", plan.cuts_micro)):
        if list(times) != sorted(set(times)) or (times and not times[0]):
            yield (key,), f"the times of {key} must ascend and begin above 0"


def _ranges(_: ModelForm, plan: TrainingPlan) -> Iterator[Fault]:
    if not plan.ranges:
        return
    if len(plan.ranges) != len(plan.numeric):
        text = (
            f"{len(plan.ranges)} ranges for {len(plan.numeric)} numeric columns: one each, in the same order"
        )
        yield ("ranges",), text
    for place, item in enumerate(plan.ranges):
        if item.low_micro >= item.high_micro:
            yield ("ranges", place), "low must be below high"
    if plan.scale_model is not None or plan.task == "moments":
        yield ("ranges",), "scale either by public ranges or by another model's moments"
