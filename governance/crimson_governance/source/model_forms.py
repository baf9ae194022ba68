"""The keys of models/NAME.yaml. A key that is not here is an error that names the nearest one."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from crimson_governance.source.values import (
    Boolean,
    Column,
    Disclosures,
    Form,
    Integer,
    Micro,
    Share,
    SignedMicro,
    Thousandths,
    Word,
    one_of,
)
from crimson_protocol.policy.document import LOSSES, MICRO, ROBUST_RULES, SERVER_STRATEGIES, STRATEGIES
from crimson_protocol.policy.plan import TASKS

Unit = Annotated[Literal["record", "node"], BeforeValidator(one_of(("record", "node")))]
ServerStrategy = Annotated[str, BeforeValidator(one_of(SERVER_STRATEGIES))]


class RobustForm(Form):
    """How bad updates are kept out. radius: of centered clipping."""

    rule: Annotated[str, BeforeValidator(one_of(ROBUST_RULES))] = "none"
    tolerance: Integer = 0
    mixing: Boolean = False
    enclave_clip: Boolean = False
    radius: Micro = 0


class ServerForm(Form):
    """What becomes of the aggregated update."""

    rate: Micro = MICRO
    momentum: Micro = 0
    second_moment: Micro = 0
    adaptivity: Micro = 0
    decay: Micro = 0


class NumbersForm(Form):
    """The numbers of a round. Parameters and counters follow from the plan, noise from the privacy budget unless it
    is written."""

    clip: Micro
    weight_cap: Integer
    min_cohort: Integer
    corrupt: Share
    dropout: Share = (1, 10)
    bucket_size: Integer | None = None
    value_bits: Integer = 16
    ring_bits: Integer = 32
    slices: Integer = 1
    noise: Micro | None = None
    steps_cap: Integer = 0


class SketchForm(Form):
    """Count sketches for filtering, in every `every`-th round."""

    buckets: Integer
    rows: Integer = 4
    every: Integer = 1


class PrivacyForm(Form):
    """A privacy budget. delta is 10^-delta_exponent. charge: the unit, unless it is written. noise: where it enters.
    releases: how many rounds it must last for; where the noise is written instead, how many it affords. step_noise:
    of a local step at the nodes, in record clips."""

    unit: Unit
    epsilon: Thousandths
    delta_exponent: Integer
    charge: Unit | None = None
    sampling: Micro = MICRO
    record_clip: Micro = 0
    divisor: Integer = 0
    noise: Annotated[str, BeforeValidator(one_of(("release", "buckets", "nodes")))] = "release"
    step_noise: Micro | None = None
    releases: Integer | None = None


class LevelsForm(Form):
    """A text column and its levels, sorted: the first is the baseline."""

    column: Column
    levels: list[Column]


class RangeForm(Form):
    """The public range of a numeric column."""

    low: SignedMicro
    high: SignedMicro


class PlanForm(Form):
    """What every node computes, on which columns of its own file."""

    task: Annotated[str, BeforeValidator(one_of(TASKS))]
    time_column: Column
    event_column: Column
    numeric: list[Column] = Field(default_factory=list)
    categorical: list[LevelsForm] = Field(default_factory=list)
    ranges: list[RangeForm] = Field(default_factory=list)
    steps: Integer = 0
    learning_rate: Micro = 0
    l2: Micro = 0
    batch: Integer = 0
    proximal: Micro = 0
    momentum: Micro = 0
    weights: Annotated[str, BeforeValidator(one_of(("rows", "equal")))] = "rows"
    scale_model: Word | None = None
    cuts: list[Micro] = Field(default_factory=list)
    hidden: list[Integer] = Field(default_factory=list)
    grid: list[Micro] = Field(default_factory=list)
    losses: Boolean = True


class ModelForm(Form):
    """models/NAME.yaml. loss: that of the plan's task, unless it is written."""

    model: Word
    strategy: Annotated[str, BeforeValidator(one_of(STRATEGIES))]
    alternatives: list[ServerStrategy] = Field(default_factory=list)
    loss: Annotated[str, BeforeValidator(one_of(LOSSES))] | None = None
    base: Word | None = None
    disclosures: Disclosures = Field(default_factory=list)
    robust: RobustForm = Field(default_factory=RobustForm)
    server: ServerForm = Field(default_factory=ServerForm)
    numbers: NumbersForm
    sketch: SketchForm | None = None
    privacy: PrivacyForm | None = None
    plan: PlanForm
