"""The keys of federation.yaml and roster.yaml. A key that is not here is an error that names the nearest one."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from crimson_governance.source.values import (
    BoxPublic,
    Column,
    Day,
    Digests,
    Form,
    Integer,
    Key32,
    Kind,
    Kinds,
    Word,
    Words,
    one_of,
)
from crimson_protocol.policy.document import STATUSES


class PartyForm(Form):
    """A governor or the publisher: a name, and the file in this folder that holds their public keys."""

    name: Word
    keys: Column


class OperatorForm(Form):
    """Whose signed requests the gateway takes."""

    name: Word
    key: Key32
    roles: Words = Field(default_factory=list)


class EvidenceForm(Form):
    """What an enclave must prove."""

    kinds: Words
    measurements: Digests
    simulated_roots: list[Column] = Field(default_factory=list)
    measures: Words = Field(default_factory=list)


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
    operators: list[OperatorForm] = Field(default_factory=list)
    evidence: EvidenceForm
    enrolment: EnrolmentForm
    regrouping: Integer = 0
    reopens: list[ReopenForm] = Field(default_factory=list)


class NodeForm(Form):
    """One node of the roster."""

    node: Word
    organisation: Word
    kind: Kind
    status: Annotated[str, BeforeValidator(one_of(STATUSES))]
    identity_key: Key32
    encryption_key: BoxPublic


class RosterForm(Form):
    """roster.yaml. A node's place in the list is its index for ever."""

    nodes: list[NodeForm] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _nobody_yet(cls, value: Any) -> Any:
        # "nodes:" with nothing behind it is how an empty roster looks.
        if isinstance(value, dict) and value.get("nodes", 0) is None:
            return {key: item for key, item in value.items() if key != "nodes"}
        return value
