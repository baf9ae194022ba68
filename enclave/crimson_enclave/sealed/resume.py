"""Between a session and the record that survives it, in both directions."""

from collections.abc import Mapping
from dataclasses import dataclass

from crimson_enclave.accounts import Accounts
from crimson_enclave.aggregation.memory import MAX_MEMORY, Memory
from crimson_enclave.bindings import Bindings, Bound, Lost
from crimson_enclave.followed import Followed
from crimson_enclave.privacy.ledger import Ledger
from crimson_enclave.sealed.record import (
    STATE_VERSION,
    Binding,
    ModelState,
    OpenAttempt,
    SealedState,
    Stored,
)
from crimson_enclave.sealed.vault import Damaged, plain
from crimson_enclave.session import Session
from crimson_enclave.state import Aborted, Confirming, Released, Unmasking, terms_of
from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.keys import DualKey
from crimson_protocol.wire.messages.advertise import Checkpoint


@dataclass(frozen=True)
class Files:
    """The files of each model as they lie beside the blob."""

    artifacts: Mapping[str, Stored]
    releases: Mapping[str, Stored]
    memories: Mapping[str, Stored]


def first_state(followed: Followed, signing: DualKey, log: Checkpoint) -> SealedState:
    """The state before the first start: no epoch yet, an empty log."""
    return SealedState(
        version=STATE_VERSION,
        federation=followed.policy.federation,
        epoch=0,
        trust=followed.trust,
        bundle=plain(followed.bundle),
        reports=0,
        ledger=(),
        log=log,
        models=(),
        bindings=(),
        attempt=None,
        released=None,
        culprits=(),
        previous=bytes(32),
        signing=signing.reveal(),
    )


def state_of(session: Session, files: Files, followed: Followed) -> SealedState:
    """What must survive of a session as it stands."""
    lost = lost_by_restart(session)
    return SealedState(
        version=STATE_VERSION,
        federation=session.policy.federation,
        epoch=session.instance.claims.epoch,
        trust=followed.trust,
        bundle=plain(followed.bundle),
        reports=session.reports,
        ledger=session.accounts.ledger.charges,
        log=session.log.checkpoint(),
        models=tuple(
            ModelState(
                model,
                *place,
                files.artifacts.get(model),
                files.releases.get(model),
                files.memories.get(model),
                session.accounts.sketched.get(model, 0),
                tuple(sorted(session.accounts.suspected.get(model, ()))),
            )
            for model, place in sorted(session.places.items())
        ),
        bindings=tuple(_binding(model, bound) for model, bound in sorted(session.bound.items())),
        attempt=OpenAttempt(lost.model, lost.offer_digest, lost.again) if lost else None,
        released=session.released,
        culprits=tuple(sorted(_culprits(session))),
        previous=session.previous,
        signing=session.instance.signing.reveal(),
    )


def lost_by_restart(session: Session) -> Lost | None:
    """The attempt that would be lost if the enclave ended now; None where there is none."""
    match session.state:
        case None:
            return session.lost
        case Released():
            return None
        case Aborted() as state:
            again = state.again
        case Confirming() | Unmasking():
            # The verdict may have been confirmed: no other attempt of this round may follow.
            again = False
        case _:
            again = True
    terms = terms_of(session.state)
    return Lost(terms.offer.model, terms.offer_digest, again)


def _culprits(session: Session) -> frozenset[int]:
    if not isinstance(session.state, Aborted):
        return session.culprits
    named = session.state.culprits
    return session.culprits | {at for at, entry in enumerate(session.policy.roster) if entry.node in named}


def _binding(model: str, bound: Bound) -> Binding:
    accepted, convicted = tuple(sorted(bound.accepted)), tuple(sorted(bound.convicted))
    return Binding(model, bound.model_digest, accepted, bound.proofs, convicted)


def refuse_other_log(state: SealedState, size: int, root: bytes) -> None:
    """Damaged unless the log, cut to the state's size, is the one that the state names."""
    if size < state.log.size:
        raise Damaged(
            Refusal.LOG_WENT_BACK, f"the log has {size} entries and the sealed state names {state.log.size}"
        )
    if root != state.log.root:
        raise Damaged(Refusal.LOG_WENT_BACK, "the log is not the one that the sealed state names")


def accounts_of(state: SealedState, memories: Mapping[str, bytes]) -> Accounts:
    """What every model has used up and remembers. Raises Damaged for a memory that is none."""
    try:
        remembered = {model: Memory.from_bytes(data, MAX_MEMORY) for model, data in memories.items()}
    except PeerFault as fault:
        raise Damaged(fault.code, "what a strategy remembers cannot be read") from fault
    return Accounts(
        Ledger(state.ledger),
        remembered,
        {entry.model: entry.sketched_micro for entry in state.models},
        {entry.model: frozenset(entry.suspected) for entry in state.models if entry.suspected},
    )


def places_of(state: SealedState) -> dict[str, tuple[int, int]]:
    """Round and attempt of every model."""
    return {entry.model: (entry.round, entry.attempt) for entry in state.models}


def bindings_of(state: SealedState) -> Bindings:
    """Verdicts that later rounds are held to."""
    return Bindings(
        {
            entry.model: Bound(
                entry.model_digest, frozenset(entry.accepted), entry.proofs, frozenset(entry.convicted)
            )
            for entry in state.bindings
        }
    )


def lost_of(state: SealedState) -> Lost | None:
    """The attempt that the restart ended."""
    open_ = state.attempt
    return Lost(open_.model, open_.offer_digest, open_.again) if open_ else None
