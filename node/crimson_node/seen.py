"""What a node remembers across attempts and restarts: high-water marks, folded from its journal."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

from crimson_protocol.wire.messages.advertise import Checkpoint
from crimson_protocol.wire.records import Count, Digest, Flag, Name, Nested, NodeSet, Record


@dataclass(frozen=True)
class PolicySeen(Record):
    """A policy was verified and followed."""

    serial: Count
    digest: Digest


@dataclass(frozen=True)
class OfferSeen(Record):
    """An offer was accepted: no earlier round, attempt or log counts from here on."""

    model: Name
    round: Count
    attempt: Count
    checkpoint: Annotated[Checkpoint, Nested(Checkpoint)]


@dataclass(frozen=True)
class VectorSent(Record):
    """A masked vector left the hospital."""

    model: Name
    round: Count
    attempt: Count
    t1: Digest
    digest: Digest
    length: Count


@dataclass(frozen=True)
class VerdictConfirmed(Record):
    """The node's one signature for this round, with what a later round on the same model is held to."""

    model: Name
    round: Count
    v: Digest
    model_digest: Digest
    accepted: NodeSet
    offer_digest: Digest
    t0: Digest
    threshold: Count
    by_conviction: Annotated[bool, Flag()]


@dataclass(frozen=True)
class VerdictReleased(Record):
    """The confirmed verdict's receipt was verified."""

    model: Name
    round: Count
    v: Digest
    receipt_digest: Digest
    checkpoint: Annotated[Checkpoint, Nested(Checkpoint)]


Entry = PolicySeen | OfferSeen | VectorSent | VerdictConfirmed | VerdictReleased


@dataclass(frozen=True)
class Seen:
    """High-water marks. `unreleased` holds, per model and its digest, the last confirmed verdict without a
    receipt: a round on another digest in between must not make it forgotten."""

    policy_serial: int = 0
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    confirmed: Mapping[str, int] = field(default_factory=dict)
    unreleased: Mapping[tuple[str, bytes], VerdictConfirmed] = field(default_factory=dict)

    def after(self, entry: Entry) -> "Seen":
        """The marks once `entry` is in the journal."""
        match entry:
            case PolicySeen():
                return replace(self, policy_serial=max(self.policy_serial, entry.serial))
            case OfferSeen():
                places = {**self.places, entry.model: (entry.round, entry.attempt)}
                return replace(self, places=places, checkpoint=entry.checkpoint)
            case VectorSent():
                return self
            case VerdictConfirmed():
                confirmed = {**self.confirmed, entry.model: entry.round}
                unreleased = {**self.unreleased, (entry.model, entry.model_digest): entry}
                return replace(self, confirmed=confirmed, unreleased=unreleased)
            case VerdictReleased():
                rest = {
                    place: verdict
                    for place, verdict in self.unreleased.items()
                    if (verdict.model, verdict.v) != (entry.model, entry.v)
                }
                return replace(self, unreleased=rest, checkpoint=entry.checkpoint)


def fold(entries: Iterable[Entry]) -> Seen:
    """The marks after a whole journal."""
    seen = Seen()
    for entry in entries:
        seen = seen.after(entry)
    return seen
