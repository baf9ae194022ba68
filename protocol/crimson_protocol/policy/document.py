"""Policy as data: one canonical CBOR object whose digest is in every transcript.

Integers only. Shares are ratios, clips and noise are in millionths, epsilon in thousandths: two parties
never disagree about a rounding.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from crimson_protocol.crypto.verify import DualPublic
from crimson_protocol.errors import PolicyRefusal
from crimson_protocol.policy import access
from crimson_protocol.policy.access import Access, AccessRules
from crimson_protocol.policy.privacy_rules import PrivacyRules
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.messages.advertise import RoundNumbers
from crimson_protocol.wire.messages.sketch import MAX_SKETCH
from crimson_protocol.wire.records import (
    MAX_NODES,
    BoxPublic,
    Bytes,
    BytesUpTo,
    Count,
    Digest,
    Items,
    Key32,
    Maybe,
    Name,
    Nested,
    OneOf,
    Record,
    Text,
    UInt,
    itself,
)

POLICY_VERSION = "crimson/policy/3"
MAX_POLICY = 16 << 20
MICRO = 1_000_000

KINDS = ("hospital", "blood_bank")
STATUSES = ("active", "suspended", "revoked")
STRATEGIES = (
    "sum",
    "fedavg",
    "fedprox",
    "fednova",
    "fedavgm",
    "fedadam",
    "fedyogi",
)
SERVER_STRATEGIES = ("fedavg", "fedavgm", "fedadam", "fedyogi")
"""What differs between these is done inside the enclave alone, so one may follow the other from round to round."""
ROBUST_RULES = (
    "none",
    "norm-bound",
    "trimmed-mean",
    "median",
    "geometric-median",
    "krum",
    "multi-krum",
    "centered-clipping",
    "sketch-filter",
)
LOSSES = (
    "none",
    "cox-partial-likelihood",
    "discrete-hazard",
    "squared-error",
    "cross-entropy",
    "policy-gradient",
)
DISCLOSURES = ("small-buckets", "single-updates", "sketches", "simulated", "no-corruption")


# Who trains a model under a policy's digest. A simulation parses the same policy once for each of its nodes.
_MEMBERS: dict[tuple[bytes, str], tuple[int, ...]] = {}
_MOST_KNOWN = 256


@dataclass(frozen=True)
class RosterEntry(Record):
    """One node: its organisation, its kind, and its two public keys."""

    node: Name
    organisation: Name
    kind: Annotated[str, OneOf(KINDS)]
    identity_key: Key32
    encryption_key: BoxPublic
    status: Annotated[str, OneOf(STATUSES)]


@dataclass(frozen=True)
class EvidenceRules(Record):
    """Evidence kinds, measurements and software roots that nodes accept, and measures of isolation they ask for."""

    kinds: Annotated[tuple[str, ...], Items(Text(16), 8, itself)]
    measurements: Annotated[tuple[bytes, ...], Items(Bytes(32), 64, itself)]
    simulated_roots: Annotated[tuple[DualPublic, ...], Items(Nested(DualPublic), 8)]
    measures: Annotated[tuple[str, ...], Items(Text(64), 64, itself)]


@dataclass(frozen=True)
class SketchRules(Record):
    """±1 count sketch: `buckets` in all, in 4 rows, in every `every`-th round of the model."""

    buckets: Annotated[int, UInt(MAX_SKETCH)]
    rows: Annotated[int, UInt(16)]
    every: Annotated[int, UInt(1 << 16)]


@dataclass(frozen=True)
class ServerRules(Record):
    """What the enclave does with the aggregated update, in millionths: learning rate, first and second moment decay,
    what is added to the root of the second moment, and weight decay."""

    rate_micro: Annotated[int, UInt(2**40)] = MICRO
    momentum_micro: Annotated[int, UInt(MICRO - 1)] = 0
    second_micro: Annotated[int, UInt(MICRO - 1)] = 0
    adaptivity_micro: Annotated[int, UInt(2**40)] = 0
    decay_micro: Annotated[int, UInt(MICRO)] = 0


@dataclass(frozen=True)
class ModelRules(Record):
    """How one model is aggregated (docs/PROTOCOL.md, "Knobs").

    alternatives: strategies that an operator may choose for a round instead. mixing: nearest-neighbour mixing before
    the robust rule. enclave_clip: bucket means beyond the clip are brought back to it; otherwise they are left out.
    radius: of centered clipping, in the update's unit.
    """

    model: Name
    strategy: Annotated[str, OneOf(STRATEGIES)]
    alternatives: Annotated[tuple[str, ...], Items(OneOf(SERVER_STRATEGIES), len(SERVER_STRATEGIES), itself)]
    loss: Annotated[str, OneOf(LOSSES)]
    robust_rule: Annotated[str, OneOf(ROBUST_RULES)]
    robust_tolerance: Annotated[int, UInt(4096)]
    mixing: Annotated[int, UInt(1)]
    radius_micro: Annotated[int, UInt(2**50)]
    enclave_clip: Annotated[int, UInt(1)]
    server: Annotated[ServerRules, Nested(ServerRules)]
    numbers: Annotated[RoundNumbers, Nested(RoundNumbers)]
    sketch: Annotated[SketchRules | None, Maybe(Nested(SketchRules))]
    privacy: Annotated[PrivacyRules | None, Maybe(Nested(PrivacyRules))]
    disclosures: Annotated[tuple[str, ...], Items(OneOf(DISCLOSURES), len(DISCLOSURES), itself)]
    plan: Annotated[bytes, BytesUpTo(1 << 20)]
    base: Annotated[str | None, Maybe(Text(64))]
    initial_digest: Digest


@dataclass(frozen=True)
class OperatorEntry(Record):
    """Somebody who may call the gateway as an operator: Ed25519 public key, and words that access rules go by."""

    name: Name
    key: Key32
    roles: Annotated[tuple[str, ...], Items(Text(32), 16, itself)]


@dataclass(frozen=True)
class EnrolmentRules(Record):
    """How many operators compare a new node's fingerprint, and which kinds of nodes may ask to join."""

    approvals: Annotated[int, UInt(16)]
    kinds: Annotated[tuple[str, ...], Items(OneOf(KINDS), len(KINDS), itself)]


@dataclass(frozen=True)
class ReopenOrder(Record):
    """Governors allow one more round on a model whose confirmed verdict was never released."""

    model: Name
    round: Count
    model_digest: Digest


@dataclass(frozen=True)
class Policy(Record):
    """The whole policy. A roster index is a place in `roster`, so entries are never removed, only revoked.

    `serial` and `expires` are those of the TUF targets metadata that it is published under. A higher `regrouping`
    draws every bucket anew: each time shows a broken enclave other sums.
    """

    version: Annotated[str, OneOf((POLICY_VERSION,))]
    federation: Name
    serial: Count
    expires: Count
    roster: Annotated[tuple[RosterEntry, ...], Items(Nested(RosterEntry), MAX_NODES)]
    operators: Annotated[
        tuple[OperatorEntry, ...], Items(Nested(OperatorEntry), 64, lambda entry: entry.name)
    ]
    access: Annotated[AccessRules, Nested(AccessRules)]
    evidence: Annotated[EvidenceRules, Nested(EvidenceRules)]
    enrolment: Annotated[EnrolmentRules, Nested(EnrolmentRules)]
    models: Annotated[tuple[ModelRules, ...], Items(Nested(ModelRules), 256, lambda rules: rules.model)]
    regrouping: Count
    reopens: Annotated[tuple[ReopenOrder, ...], Items(Nested(ReopenOrder), 64)]

    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes: the digest in Offer, T0 and receipts."""
        return self._digest

    def active(self) -> tuple[int, ...]:
        """Roster indices of active nodes, ascending."""
        return self._active

    # Both are asked for by every message; a policy never changes, so they are computed once.
    @cached_property
    def _digest(self) -> bytes:
        return hashlib.sha256(self.to_bytes()).digest()

    @cached_property
    def _active(self) -> tuple[int, ...]:
        return tuple(index for index, entry in enumerate(self.roster) if entry.status == "active")

    @cached_property
    def control(self) -> Access:
        """The access rules, parsed. Raises PolicyRefusal(UNSOUND_POLICY) for rules that cannot be read."""
        return Access.of(self.access)

    def members(self, model: str) -> tuple[int, ...]:
        """Roster indices, ascending, of the active nodes that the access rules permit to train a model."""
        known = _MEMBERS.get((self.digest(), model))
        if known is None:
            rules = self.rules(model)
            asked = ((index, training(self.roster[index], rules)) for index in self.active())
            known = tuple(index for index, question in asked if self.control.decide(question).allowed)
            if len(_MEMBERS) >= _MOST_KNOWN:
                _MEMBERS.clear()
            _MEMBERS[self.digest(), model] = known
        return known

    def reopened(self, model: str, round_: int, model_digest: bytes) -> bool:
        """Whether the governors free this round of a model from an earlier verdict."""
        return ReopenOrder(model, round_, model_digest) in self.reopens

    def is_active(self, index: int) -> bool:
        """Whether a roster index is that of an active node."""
        return 0 <= index < len(self.roster) and self.roster[index].status == "active"

    def rules(self, model: str) -> ModelRules:
        """The model's rules, or PolicyRefusal(MODEL_REJECTED) for one that is not listed."""
        for rules in self.models:
            if rules.model == model:
                return rules
        raise PolicyRefusal(Refusal.MODEL_REJECTED, f"the policy lists no model {model!r}")

    def name(self, index: int) -> str:
        """The node id at a roster index; unknown indices still get a printable name for blame."""
        return self.roster[index].node if index < len(self.roster) else f"index {index}"


def node_entity(entry: RosterEntry) -> access.Entity:
    """A node as the access rules see it."""
    return access.Entity(
        "Node",
        entry.node,
        {"organisation": entry.organisation, "kind": entry.kind, "status": entry.status},
    )


def model_entity(rules: ModelRules) -> access.Entity:
    """A model as the access rules see it."""
    attributes: dict[str, access.Value] = {
        "strategy": rules.strategy,
        "loss": rules.loss,
        "private": rules.privacy is not None,
        "disclosures": rules.disclosures,
    }
    return access.Entity("Model", rules.model, attributes)


def training(entry: RosterEntry, rules: ModelRules) -> access.Question:
    """The question whether a node may train a model."""
    return access.Question("train", node_entity(entry), model_entity(rules), {})
