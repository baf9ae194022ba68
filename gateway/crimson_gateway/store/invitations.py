"""Invitations as the database holds them: issued, used once, revoked."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from crimson_gateway.store.tables import Enrolment, Invitation

OPEN = ("requested", "approved")
"""States of a request that still waits for operators or governors."""


def add_invitation(
    session: Session,
    digest: bytes,
    key: bytes,
    record: bytes,
    *,
    node: str,
    issuer: str,
    expires: int,
    now: datetime,
) -> Invitation:
    """A new invitation. Neither its digest nor its key is there yet."""
    invitation = Invitation(
        digest=digest,
        key=key,
        record=record,
        node=node,
        issuer=issuer,
        expires=expires,
        used_by=None,
        revoked=False,
        at=now,
    )
    session.add(invitation)
    return invitation


def invitation_by_digest(session: Session, digest: bytes) -> Invitation | None:
    """The invitation that a request names."""
    return session.get(Invitation, digest)


def invitation_of_key(session: Session, key: bytes) -> Invitation | None:
    """The invitation whose key this is."""
    return session.scalars(select(Invitation).where(Invitation.key == key)).first()


def newest_invitations(session: Session, limit: int) -> Sequence[Invitation]:
    """Invitations from the newest on."""
    query = select(Invitation).order_by(Invitation.at.desc(), Invitation.digest).limit(limit)
    return session.scalars(query).all()


def invitations_that_sign(session: Session, since: datetime) -> Sequence[Invitation]:
    """Invitations whose key may still ask for something, if only to be told why not: those that ended after `since`,
    and those whose request is open or was decided after it."""
    told = or_(Enrolment.state.in_(OPEN), Enrolment.changed > since)
    used = Invitation.used_by.in_(select(Enrolment.digest).where(told))
    ended = Invitation.expires > int(since.timestamp())
    return session.scalars(select(Invitation).where(or_(ended, used))).all()


def use_invitation(session: Session, digest: bytes, request: bytes) -> bool:
    """Use the invitation for the request with this SHA-256; False where it was used or revoked before."""
    free = Invitation.used_by.is_(None), Invitation.revoked.is_(False)
    result = session.execute(
        update(Invitation)
        .where(Invitation.digest == digest, *free)
        .values(used_by=request)
        .returning(Invitation.digest)
    )
    return result.first() is not None


def revoke_invitation(session: Session, digest: bytes) -> None:
    """Nobody may use the invitation any more."""
    session.execute(update(Invitation).where(Invitation.digest == digest).values(revoked=True))
