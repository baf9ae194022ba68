"""Where the enclave stands, as the link tells it: read off the session, changing nothing."""

from crimson_enclave.rounds.confirm import confirmed
from crimson_enclave.rounds.endorse import endorsements_needed
from crimson_enclave.rounds.unmask import enough
from crimson_enclave.session import Session
from crimson_enclave.state import (
    Aborted,
    Advertising,
    Confirming,
    Sharing,
    Sketching,
    State,
    Submitting,
    Unmasking,
    terms_of,
)
from crimson_protocol.phases import EnclavePhase
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.link import IDLE, LOST, UNENDORSED, Place, Status


def status(session: Session, log_size: int) -> Status:
    """The session's standing; `log_size` counts the log entries that are durable."""
    claims, model = session.instance.claims, model_in_question(session)
    return Status(
        epoch=claims.epoch,
        instance=claims.instance,
        claims_digest=claims.digest(),
        phase=phase(session),
        place=Place(model, *session.places[model]) if model else None,
        offer_digest=_offer_digest(session),
        waiting=tuple(sorted(_waiting(session.state))) if session.state else (),
        enough=_enough(session.state),
        code=_code(session),
        again=bool(model) and session.may_try_again(model or ""),
        places=tuple(Place(name, *place) for name, place in sorted(session.places.items())),
        endorsed=tuple(sorted(session.endorsed)),
        policy=session.policy.digest(),
        reports=session.reports,
        log_size=log_size,
    )


def phase(session: Session) -> str:
    """The phase of the last attempt; without one of this start, what a restart left, or what is awaited."""
    if session.state is not None:
        return session.state.phase.value
    if session.lost is not None:
        return LOST
    if session.released is not None:
        return EnclavePhase.RELEASED.value
    return IDLE if len(session.endorsed) >= endorsements_needed(session.policy) else UNENDORSED


def running(session: Session) -> bool:
    """Whether an attempt is open."""
    return isinstance(session.state, Advertising | Sharing | Submitting | Sketching | Confirming | Unmasking)


def model_in_question(session: Session) -> str | None:
    """The model of the last attempt, of this start or the one before."""
    if session.state is not None:
        return terms_of(session.state).offer.model
    return session.lost.model if session.lost else session.released


def _offer_digest(session: Session) -> bytes | None:
    if session.state is not None:
        return terms_of(session.state).offer_digest
    return session.lost.offer_digest if session.lost else None


def _waiting(state: State) -> set[int]:
    match state:
        case Advertising():
            return (
                set(state.terms.policy.members(state.terms.offer.model))
                - set(state.advertised)
                - state.excluded
            )
        case Sharing():
            return set(state.agreement.members) - set(state.shares)
        case Submitting():
            return set(state.dealt.nodes) - set(state.submitted) - state.withdrawn
        case Sketching():
            return set(state.candidates) - set(state.sketched.values)
        case Confirming():
            return set(state.judged.frozen.dealt.nodes) - set(state.confirmations)
        case Unmasking():
            return set(state.judged.frozen.dealt.nodes) - state.answered
        case _:
            return set()


def _enough(state: State | None) -> bool:
    match state:
        case Confirming():
            return confirmed(state)
        case Unmasking():
            return enough(state)
        case _:
            return False


def _code(session: Session) -> str | None:
    if isinstance(session.state, Aborted):
        return session.state.code.value
    return Refusal.RESTARTED.value if session.state is None and session.lost else None
