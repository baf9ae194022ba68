"""The gateway's own decisions, each to be handed to the enclave's log once."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from crimson_gateway.store.tables import Report
from crimson_protocol.events import REPORTS

MAX_CODE = 64


def report(
    session: Session, kind: str, subject: str, actor: str, now: datetime, code: str | None = None
) -> None:
    """Note a decision, in the transaction that makes it.

    A subject is a node, a model or a digest; an actor an operator, a node, an invitation's digest or "gateway".
    """
    assert kind in REPORTS
    session.add(Report(kind=kind, subject=subject, actor=actor, code=code, at=now, delivered=False))


def report_once(session: Session, kind: str, subject: str, actor: str, now: datetime, code: str) -> None:
    """Note a refusal, unless the same actor was refused the same before: whoever asks again and again fills no log."""
    same = Report.kind == kind, Report.subject == subject, Report.actor == actor, Report.code == code
    if session.scalars(select(Report.id).where(*same).limit(1)).first() is None:
        report(session, kind, subject, actor, now, code)


def undelivered_reports(session: Session, limit: int) -> Sequence[Report]:
    """Decisions that the enclave's log does not have yet, oldest first."""
    query = select(Report).where(Report.delivered.is_(False)).order_by(Report.id).limit(limit)
    return session.scalars(query).all()


def delivered(session: Session, up_to_id: int) -> None:
    """The enclave's log has every decision up to this one."""
    waiting = Report.delivered.is_(False), Report.id <= up_to_id
    session.execute(update(Report).where(*waiting).values(delivered=True))
