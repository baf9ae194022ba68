"""The record inside the sealed blob, and the blob itself."""

from dataclasses import dataclass, field
from typing import Annotated

from crimson_protocol.policy.update import Trust
from crimson_protocol.wire.messages.advertise import Checkpoint
from crimson_protocol.wire.messages.confirm import MAX_CONVICTIONS, MAX_PROOF
from crimson_protocol.wire.records import (
    Bytes,
    BytesUpTo,
    Count,
    Digest,
    Flag,
    Items,
    Maybe,
    Name,
    Nested,
    NodeSet,
    OneOf,
    Record,
    Text,
    UInt,
)

STATE_VERSION = "crimson/state/3"
MAX_MODELS = 256
MAX_CHARGES = 1 << 14
MAX_STATE = 1 << 30


@dataclass(frozen=True)
class Stored(Record):
    """A file beside the blob: the digest of its content and, where it is sealed, the key."""

    digest: Digest
    key: Annotated[bytes | None, Maybe(Bytes(32))] = field(repr=False)


@dataclass(frozen=True)
class ModelState(Record):
    """How far a model has come. `artifact` is what the next round starts from, null for the policy's initial
    one; `release` is the last Release, so that the same bytes go out again. `memory`: what its strategy remembers.
    sketched: exposure of its updates, in millionths, never reset. suspected: flagged in its last sketched round."""

    model: Name
    round: Count
    attempt: Count
    artifact: Annotated[Stored | None, Maybe(Nested(Stored))]
    release: Annotated[Stored | None, Maybe(Nested(Stored))]
    memory: Annotated[Stored | None, Maybe(Nested(Stored))]
    sketched_micro: Count
    suspected: NodeSet


@dataclass(frozen=True)
class Binding(Record):
    """A verdict that nodes may have confirmed (`bindings.Bound`)."""

    model: Name
    model_digest: Digest
    accepted: NodeSet
    proofs: Annotated[tuple[bytes, ...], Items(BytesUpTo(MAX_PROOF), MAX_CONVICTIONS)]
    convicted: NodeSet


@dataclass(frozen=True)
class Charge(Record):
    """One event of the privacy ledger, durable before anything of it is opened.

    multiplier: the noise's deviation over the sensitivity, in millionths, rounded down. sampling: probability with
    which a record took part, in millionths, rounded up.
    steps: so many such draws at each node make the release. unit: what the noise hides.
    """

    model: Name
    round: Count
    attempt: Count
    multiplier_micro: Count
    sampling_micro: Annotated[int, UInt(1_000_000)]
    steps: Count
    unit: Annotated[str, OneOf(("record", "node"))]


@dataclass(frozen=True)
class OpenAttempt(Record):
    """The attempt that a restart ends (`session.Lost`)."""

    model: Name
    offer_digest: Digest
    again: Annotated[bool, Flag()]


@dataclass(frozen=True)
class SealedState(Record):
    """Everything that must survive a restart; nothing of it is believed unless the whole of it opens."""

    version: Annotated[str, OneOf((STATE_VERSION,))]
    federation: Name
    epoch: Count
    trust: Annotated[Trust, Nested(Trust)]
    bundle: Annotated[Stored, Nested(Stored)]
    reports: Count
    ledger: Annotated[tuple[Charge, ...], Items(Nested(Charge), MAX_CHARGES)]
    log: Annotated[Checkpoint, Nested(Checkpoint)]
    models: Annotated[
        tuple[ModelState, ...], Items(Nested(ModelState), MAX_MODELS, lambda entry: entry.model)
    ]
    bindings: Annotated[tuple[Binding, ...], Items(Nested(Binding), MAX_MODELS, lambda entry: entry.model)]
    attempt: Annotated[OpenAttempt | None, Maybe(Nested(OpenAttempt))]
    released: Annotated[str | None, Maybe(Text(64))]
    culprits: NodeSet
    previous: Digest
    signing: Annotated[bytes, Bytes(64)] = field(repr=False)


@dataclass(frozen=True)
class SealedBlob(Record):
    """The file: whose state it is, in the clear, for an error that can say so; the rest only opens inside."""

    version: Annotated[str, OneOf((STATE_VERSION,))]
    anchor: Digest
    sealed: Annotated[bytes, BytesUpTo(MAX_STATE)] = field(repr=False)
