"""The keys that source files have. A key that is not here is an error that names the nearest one.

Forms check one value at a time; what values mean together is for the compiler and for the protocol's rules.
"""

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from crimson_governance.source import scalars
from crimson_protocol.policy.document import (
    DISCLOSURES,
    KINDS,
    LOSSES,
    ROBUST_RULES,
    STATUSES,
    STRATEGIES,
)
from crimson_protocol.policy.plan import TASKS

Item = TypeVar("Item", bound=str | bytes)


def _named(value: Any, most: int = 64) -> str:
    found = scalars.text(value)
    if not 1 <= len(found.encode()) <= most:
        raise ValueError(f"1 to {most} bytes of text belong here")
    return found


def _one_of(words: tuple[str, ...]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        found = scalars.text(value)
        if found in words:
            return found
        near = get_close_matches(found, words, 1, 0.5)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"{found!r} is none of {', '.join(words)}{meant}")

    return check


def _set(values: list[Item]) -> list[Item]:
    twice = {value for value in values if values.count(value) > 1}
    if twice:
        first = min(twice)
        raise ValueError(f"{first.hex() if isinstance(first, bytes) else first} stands here twice")
    return sorted(values)


Word = Annotated[str, BeforeValidator(_named)]
Column = Annotated[str, BeforeValidator(partial(_named, most=256))]
Integer = Annotated[int, BeforeValidator(scalars.integer)]
Boolean = Annotated[bool, BeforeValidator(scalars.boolean)]
Micro = Annotated[int, BeforeValidator(scalars.micro)]
Thousandths = Annotated[int, BeforeValidator(scalars.thousandths)]
Share = Annotated[tuple[int, int], BeforeValidator(scalars.share)]
Day = Annotated[int, BeforeValidator(scalars.day)]
Key32 = Annotated[bytes, BeforeValidator(partial(scalars.hexadecimal, length=32))]
BoxPublic = Annotated[bytes, BeforeValidator(partial(scalars.base64_bytes, length=1216))]
Kind = Annotated[str, BeforeValidator(_one_of(KINDS))]
Unit = Annotated[Literal["record", "node"], BeforeValidator(_one_of(("record", "node")))]
Words = Annotated[list[Word], AfterValidator(_set)]
Digests = Annotated[list[Key32], AfterValidator(_set)]
Kinds = Annotated[list[Kind], AfterValidator(_set)]
Disclosures = Annotated[list[Annotated[str, BeforeValidator(_one_of(DISCLOSURES))]], AfterValidator(_set)]


class Form(BaseModel):
    """A mapping with known keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            if isinstance(value, cls):
                return value
            raise ValueError("keys with values belong here")
        for key in value:
            if key not in cls.model_fields:
                near = get_close_matches(key, cls.model_fields, 1, 0.5)
                meant = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(cls.model_fields)
                text = f"unknown key {key!r} ({meant})"
                raise PydanticCustomError("unknown_key", "{text}", {"text": text, "key": key})
        return value


class PartyForm(Form):
    """A governor or the publisher: a name, and the file in this folder that holds their public keys."""

    name: Word
    keys: Column


class OperatorForm(Form):
    """Whose signed requests the gateway takes."""

    name: Word
    key: Key32
    roles: Words = []


class EvidenceForm(Form):
    """What an enclave must prove."""

    kinds: Words
    measurements: Digests
    simulated_roots: list[Column] = []
    measures: Words = []


class EnrolmentForm(Form):
    """What must happen before governors are asked to list a node."""

    approvals: Integer
    kinds: Kinds


class ReopenForm(Form):
    """One more round on a model whose confirmed verdict was never released."""

    model: Word
    round: Integer
    model_digest: Key32


class FederationForm(Form):
    """federation.yaml."""

    federation: Word
    lifetime_days: Integer | None = None
    expires: Day | None = None
    governors: list[PartyForm]
    threshold: Integer
    publisher: PartyForm
    operators: list[OperatorForm] = []
    evidence: EvidenceForm
    enrolment: EnrolmentForm
    reopens: list[ReopenForm] = []


class NodeForm(Form):
    """One node of the roster."""

    node: Word
    organisation: Word
    kind: Kind
    status: Annotated[str, BeforeValidator(_one_of(STATUSES))]
    identity_key: Key32
    encryption_key: BoxPublic


class RosterForm(Form):
    """roster.yaml. A node's place in the list is its index for ever."""

    nodes: list[NodeForm] = []

    @model_validator(mode="before")
    @classmethod
    def _nobody_yet(cls, value: Any) -> Any:
        # "nodes:" with nothing behind it is how an empty roster looks.
        if isinstance(value, dict) and value.get("nodes", 0) is None:
            return {key: item for key, item in value.items() if key != "nodes"}
        return value


class RobustForm(Form):
    """How bad updates are kept out."""

    rule: Annotated[str, BeforeValidator(_one_of(ROBUST_RULES))] = "none"
    tolerance: Integer = 0
    enclave_clip: Boolean = False


class NumbersForm(Form):
    """The numbers of a round. Parameters and counters follow from the plan and are not written here."""

    clip: Micro
    weight_cap: Integer
    min_cohort: Integer
    corrupt: Share
    dropout: Share = (1, 10)
    bucket_size: Integer | None = None
    value_bits: Integer = 16
    ring_bits: Integer = 32
    slices: Integer = 1
    noise: Micro = 0


class SketchForm(Form):
    """Count sketches for filtering."""

    buckets: Integer
    rows: Integer = 4


class PrivacyForm(Form):
    """A privacy budget. delta is 10^-delta_exponent."""

    unit: Unit
    epsilon: Thousandths
    delta_exponent: Integer
    charge: Unit
    noise: Micro = 0
    noise_per_bucket: Boolean = False


class LevelsForm(Form):
    """A text column and its levels, sorted: the first is the baseline."""

    column: Column
    levels: list[Column]


class PlanForm(Form):
    """What every node computes, on which columns of its own file."""

    task: Annotated[str, BeforeValidator(_one_of(TASKS))]
    time_column: Column
    event_column: Column
    numeric: list[Column] = []
    categorical: list[LevelsForm] = []
    steps: Integer = 0
    learning_rate: Micro = 0
    l2: Micro = 0
    weights: Annotated[str, BeforeValidator(_one_of(("rows", "equal")))] = "rows"
    scale_model: Word | None = None
    grid: list[Micro] = []


class ModelForm(Form):
    """models/NAME.yaml."""

    model: Word
    strategy: Annotated[str, BeforeValidator(_one_of(STRATEGIES))]
    loss: Annotated[str, BeforeValidator(_one_of(LOSSES))] = "none"
    base: Word | None = None
    disclosures: Disclosures = []
    robust: RobustForm = Field(default_factory=RobustForm)
    numbers: NumbersForm
    sketch: SketchForm | None = None
    privacy: PrivacyForm | None = None
    plan: PlanForm
