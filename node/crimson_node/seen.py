"""What a node remembers across attempts and restarts: high-water marks, folded from its journal."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated

from crimson_protocol.policy.document import Policy
from crimson_protocol.wire.messages.advertise import Checkpoint
from crimson_protocol.wire.records import Count, Digest, Flag, Name, Nested, NodeSet, Record


@dataclass(frozen=True)
class PolicySeen(Record):
    """A policy was verified and followed."""

    serial: Count
    digest: Digest


@dataclass(frozen=True)
class InstanceEndorsed(Record):
    """This node vouched for an instance of the enclave: no other counts for this epoch, and no shorter log."""

    epoch: Count
    claims_digest: Digest
    checkpoint: Annotated[Checkpoint, Nested(Checkpoint)]


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
    """A release was verified: of the verdict this node confirmed, or of a round that it missed.

    `output` is the digest of the artifact that the model is at from now on. `charges`: private releases of the model
    that its receipt counts.
    """

    model: Name
    round: Count
    v: Digest
    receipt_digest: Digest
    output: Digest
    checkpoint: Annotated[Checkpoint, Nested(Checkpoint)]
    charges: Count = 0


@dataclass(frozen=True)
class UpdateSketched(Record):
    """The enclave sees a sketch of this node's update: m/d of it, in millionths."""

    model: Name
    round: Count
    attempt: Count
    model_digest: Digest
    micro: Count


@dataclass(frozen=True)
class ReleaseCharged(Record):
    """This node opened shares for a private release: whatever becomes of it, its cost is spent."""

    model: Name
    round: Count
    attempt: Count
    multiplier_micro: Count
    sampling_micro: Count


Entry = (
    PolicySeen
    | InstanceEndorsed
    | OfferSeen
    | VectorSent
    | VerdictConfirmed
    | VerdictReleased
    | UpdateSketched
    | ReleaseCharged
)


@dataclass(frozen=True)
class Seen:
    """High-water marks. `bound` holds, per model and its digest, the last confirmed verdict.

    It stays after the release: exact sums over two cohorts on one model differ by single sites. Training
    moves on to another digest with every release, so it is held to nothing. `exposure`: what sketches have shown of
    a model's updates, in millionths, over all rounds. `sketches`: how many of the update on one digest. `charges`:
    private releases of a model that this node opened shares for, or that a receipt told it of.
    """

    policy_serial: int = 0
    policy_digest: bytes = b""
    endorsed: tuple[int, bytes] = (0, b"")
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    confirmed: Mapping[str, int] = field(default_factory=dict)
    bound: Mapping[tuple[str, bytes], VerdictConfirmed] = field(default_factory=dict)
    released: Mapping[str, VerdictReleased] = field(default_factory=dict)
    exposure: Mapping[str, int] = field(default_factory=dict)
    sketches: Mapping[tuple[str, bytes], int] = field(default_factory=dict)
    charges: Mapping[str, int] = field(default_factory=dict)

    def after(self, entry: Entry) -> "Seen":
        """The marks once `entry` is in the journal."""
        match entry:
            case PolicySeen():
                return replace(self, policy_serial=entry.serial, policy_digest=entry.digest)
            case InstanceEndorsed():
                vouched = entry.epoch, entry.claims_digest
                return replace(self, endorsed=vouched, checkpoint=self._later(entry.checkpoint))
            case OfferSeen():
                places = {**self.places, entry.model: (entry.round, entry.attempt)}
                return replace(self, places=places, checkpoint=entry.checkpoint)
            case VectorSent():
                return self
            case VerdictConfirmed():
                confirmed = {**self.confirmed, entry.model: entry.round}
                bound = {**self.bound, (entry.model, entry.model_digest): entry}
                return replace(self, confirmed=confirmed, bound=bound)
            case VerdictReleased():
                released = {**self.released, entry.model: entry}
                counted = max(entry.charges, self.charges.get(entry.model, 0))
                return replace(
                    self,
                    checkpoint=self._later(entry.checkpoint),
                    released=released,
                    charges={**self.charges, entry.model: counted},
                )
            case UpdateSketched():
                return self._sketched(entry)
            case ReleaseCharged():
                charges = {**self.charges, entry.model: self.charges.get(entry.model, 0) + 1}
                return replace(self, charges=charges)

    def confirmation(self, model: str, round_: int) -> VerdictConfirmed | None:
        """This node's confirmation of a round, while it is the last one on its model digest."""
        entries = (entry for entry in self.bound.values() if (entry.model, entry.round) == (model, round_))
        return next(entries, None)

    def _sketched(self, entry: UpdateSketched) -> "Seen":
        shown, update = self.exposure.get(entry.model, 0) + entry.micro, (entry.model, entry.model_digest)
        return replace(
            self,
            exposure={**self.exposure, entry.model: shown},
            sketches={**self.sketches, update: self.sketches.get(update, 0) + 1},
        )

    def _later(self, checkpoint: Checkpoint) -> Checkpoint:
        """A missed release may be older than what was seen since."""
        known = self.checkpoint
        return known if known is not None and known.size > checkpoint.size else checkpoint

    def base_digest(self, policy: Policy, model: str) -> bytes:
        """Digest of the artifact that the next round of `model` starts from: of the last verified release of its
        base model, or of the policy's initial artifact."""
        base = policy.rules(policy.rules(model).base or model)
        last = self.released.get(base.model) if base.numbers.parameters else None
        return last.output if last else base.initial_digest


def fold(entries: Iterable[Entry]) -> Seen:
    """The marks after a whole journal."""
    seen = Seen()
    for entry in entries:
        seen = seen.after(entry)
    return seen
