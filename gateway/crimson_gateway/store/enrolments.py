"""Requests of sites, and who approved them."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import Session

from crimson_gateway.store.invitations import OPEN
from crimson_gateway.store.put import put
from crimson_gateway.store.tables import Approval, Enrolment

JOIN, ROTATION, LEAVE = "join", "rotation", "leave"
CAME_TO_NOTHING = ("refused", "expired")


def add_enrolment(
    session: Session,
    node: str,
    kind: str,
    *,
    digest: bytes,
    request: bytes,
    identity_key: bytes,
    encryption_key: bytes | None,
    state: str,
    now: datetime,
) -> Enrolment:
    """A request that was checked. No request with this digest is there yet."""
    enrolment = Enrolment(
        node=node,
        kind=kind,
        digest=digest,
        request=request,
        identity_key=identity_key,
        encryption_key=encryption_key,
        state=state,
        reason=None,
        requested=now,
        changed=now,
    )
    session.add(enrolment)
    session.flush()
    return enrolment


def enrolment_by_digest(session: Session, digest: bytes) -> Enrolment | None:
    """The request with these exact bytes, where it came before."""
    return session.scalars(select(Enrolment).where(Enrolment.digest == digest)).first()


def enrolment_of_key(session: Session, identity_key: bytes) -> Enrolment | None:
    """The newest request for this identity key."""
    query = select(Enrolment).where(Enrolment.identity_key == identity_key, Enrolment.kind != LEAVE)
    return session.scalars(query.order_by(Enrolment.id.desc()).limit(1)).first()


def enrolment_of_node(session: Session, node: str) -> Enrolment | None:
    """The node's open request, else its newest."""
    query = select(Enrolment).where(Enrolment.node == node)
    return session.scalars(
        query.order_by(Enrolment.state.in_(OPEN).desc(), Enrolment.id.desc()).limit(1)
    ).first()


def open_enrolments(session: Session, node: str | None = None) -> Sequence[Enrolment]:
    """Requests that wait for operators or governors, of one node or of all, oldest first."""
    query = select(Enrolment).where(Enrolment.state.in_(OPEN)).order_by(Enrolment.id)
    return session.scalars(query if node is None else query.where(Enrolment.node == node)).all()


def told_enrolments(session: Session, since: datetime) -> Sequence[Enrolment]:
    """Requests for keys, oldest first, that are open, or that came to nothing after `since`: their sites may ask why.
    A key that was listed once is its node's for as long as the policy says so, and not a day longer."""
    lately = and_(Enrolment.state.in_(CAME_TO_NOTHING), Enrolment.changed > since)
    told = or_(Enrolment.state.in_(OPEN), lately)
    query = select(Enrolment).where(told, Enrolment.kind != LEAVE).order_by(Enrolment.id)
    return session.scalars(query).all()


def newest_enrolments(session: Session, limit: int) -> Sequence[Enrolment]:
    """Requests from the newest on."""
    return session.scalars(select(Enrolment).order_by(Enrolment.id.desc()).limit(limit)).all()


def open_request_for(session: Session, keys: Collection[bytes]) -> Enrolment | None:
    """An open request for one of these keys, identity or encryption."""
    wanted = or_(Enrolment.identity_key.in_(keys), Enrolment.encryption_key.in_(keys))
    return session.scalars(select(Enrolment).where(Enrolment.state.in_(OPEN), wanted).limit(1)).first()


def change_enrolment(
    session: Session, enrolment: Enrolment, state: str, reason: str | None, now: datetime
) -> None:
    """The request is in another state from now on."""
    enrolment.state, enrolment.reason, enrolment.changed = state, reason, now
    values = {"state": state, "reason": reason, "changed": now}
    session.execute(update(Enrolment).where(Enrolment.id == enrolment.id).values(**values))


def approve_enrolment(session: Session, enrolment_id: int, operator: str, now: datetime) -> bool:
    """Note an operator's approval; False where it was there already."""
    if session.get(Approval, (enrolment_id, operator)) is not None:
        return False
    put(session, Approval, {"enrolment_id": enrolment_id, "operator": operator}, {"at": now})
    return True


def approvals_of(session: Session, enrolment_id: int) -> Sequence[str]:
    """Names of the operators who approved, in the order in which they did."""
    query = select(Approval.operator).where(Approval.enrolment_id == enrolment_id)
    return session.scalars(query.order_by(Approval.at, Approval.operator)).all()
