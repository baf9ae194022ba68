"""One frozen dataclass per phase of an attempt at the node; each holds only what its phase may use."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from crimson_node.member import Update
from crimson_protocol.agreement import Agreement, Dealt, Terms
from crimson_protocol.crypto.verify import DualPublic
from crimson_protocol.evidence.validate import Appraisal
from crimson_protocol.layout import Words
from crimson_protocol.phases import NodePhase
from crimson_protocol.secret.boxes import HeldShares
from crimson_protocol.secret.keys import BoxKey, RoundRoot, Secret
from crimson_protocol.survivors import Frozen, Judged


@dataclass(frozen=True)
class AttemptSecrets:
    """New for every attempt, in memory only: round root R, self-mask seed b, share key."""

    root: RoundRoot
    seed: Secret
    share_key: BoxKey


@dataclass(frozen=True)
class Ready:
    """Trained, and the enclave's evidence was accepted."""

    phase = NodePhase.READY
    update: Update
    appraisal: Appraisal = field(repr=False)


@dataclass(frozen=True)
class Advertised:
    """Keys are out."""

    phase = NodePhase.ADVERTISED
    update: Update
    terms: Terms
    enclave: DualPublic = field(repr=False)
    secrets: AttemptSecrets
    envelope: bytes = field(repr=False)


@dataclass(frozen=True)
class SharesDealt:
    """Shares are out; the node's own share stays in `own`."""

    phase = NodePhase.DEALT
    update: Update
    agreement: Agreement
    enclave: DualPublic = field(repr=False)
    secrets: AttemptSecrets
    rows_root: bytes
    own: HeldShares


@dataclass(frozen=True)
class Submitted:
    """The masked vector is on disk. R, b and every pair secret are gone; held shares remain.

    encoded: the vector before it was masked, kept until Freeze where the policy wants a sketch of it.
    """

    phase = NodePhase.SUBMITTED
    dealt: Dealt
    enclave: DualPublic = field(repr=False)
    held: Mapping[int, HeldShares] = field(repr=False)
    digest: bytes
    encoded: Words | None = field(default=None, repr=False)


@dataclass(frozen=True)
class FrozenInputs:
    """Inputs are frozen; the verdict is awaited."""

    phase = NodePhase.FROZEN
    frozen: Frozen
    enclave: DualPublic = field(repr=False)
    held: Mapping[int, HeldShares] = field(repr=False)


@dataclass(frozen=True)
class Confirmed:
    """The one signature of this round is given, for this verdict."""

    phase = NodePhase.CONFIRMED
    judged: Judged
    enclave: DualPublic = field(repr=False)
    held: Mapping[int, HeldShares] = field(repr=False)


@dataclass(frozen=True)
class Opened:
    """Shares are opened. The same request gets the same bytes for ever, any other is refused."""

    phase = NodePhase.OPENED
    judged: Judged
    enclave: DualPublic = field(repr=False)
    request_digest: bytes
    reply: bytes = field(repr=False)


@dataclass(frozen=True)
class Finished:
    """The release was verified; `artifact` is what the federation learnt."""

    phase = NodePhase.FINISHED
    model: str
    artifact: bytes = field(repr=False)
    receipt: bytes = field(repr=False)


@dataclass(frozen=True)
class Withdrawn:
    """The node takes no further part in this attempt, and why."""

    phase = NodePhase.WITHDRAWN
    reason: str


State = (
    Ready | Advertised | SharesDealt | Submitted | FrozenInputs | Confirmed | Opened | Finished | Withdrawn
)


def attempt_digest(state: State) -> bytes | None:
    """Digest of the offer that the running attempt began with, in any phase that has one."""
    match state:
        case Advertised():
            return state.terms.offer_digest
        case SharesDealt():
            return state.agreement.terms.offer_digest
        case Submitted():
            return state.dealt.agreement.terms.offer_digest
        case FrozenInputs():
            return state.frozen.dealt.agreement.terms.offer_digest
        case Confirmed() | Opened():
            return state.judged.agreement.terms.offer_digest
        case _:
            return None
