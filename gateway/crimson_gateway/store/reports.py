"""The gateway's own decisions, each to be handed to the enclave's log once."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from crimson_gateway.store.tables import Report
from crimson_protocol.events import REPORTS

MAX_SUBJECT, MAX_ACTOR, MAX_CODE = 128, 64, 64
"""Most bytes of each text in the log."""


def report(
    session: Session, kind: str, subject: str, actor: str, now: datetime, code: str | None = None
) -> None:
    """Note a decision, in the transaction that makes it.

    A subject is a node, a model or a digest; an actor an operator, a node, an invitation's digest or "gateway".
    """
    assert kind in REPORTS
    told = one_line(code, MAX_CODE) if code else None
    session.add(
        Report(
            kind=kind,
            subject=one_line(subject, MAX_SUBJECT),
            actor=one_line(actor, MAX_ACTOR),
            code=told,
            at=now,
            delivered=False,
        )
    )


def one_line(text: str, most: int) -> str:
    """The text as the log takes it: printable, and at most so many bytes of UTF-8."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain.encode()[:most].decode(errors="ignore") or "-"


def report_once(session: Session, kind: str, subject: str, actor: str, now: datetime, code: str) -> None:
    """Note a refusal, unless the same actor was refused the same before: whoever asks again and again fills no log."""
    subject, actor, code = (
        one_line(subject, MAX_SUBJECT),
        one_line(actor, MAX_ACTOR),
        one_line(code, MAX_CODE),
    )
    same = Report.kind == kind, Report.subject == subject, Report.actor == actor, Report.code == code
    if session.scalars(select(Report.id).where(*same).limit(1)).first() is None:
        report(session, kind, subject, actor, now, code)


def undelivered_reports(session: Session, limit: int) -> Sequence[Report]:
    """Decisions that the enclave's log does not have yet, oldest first."""
    query = select(Report).where(Report.delivered.is_(False)).order_by(Report.id).limit(limit)
    return session.scalars(query).all()


def number_reports(session: Session, rows: Sequence[Report], logged: int) -> None:
    """Give numbers to those that have none yet, above all that were given and above what the enclave's log has: its
    last is `logged`, also where this database is newer than the log."""
    last = max(session.scalar(select(func.max(Report.number))) or 0, logged)
    for row in rows:
        if row.number is None:
            last += 1
            session.execute(update(Report).where(Report.id == row.id).values(number=last))


def delivered(session: Session, up_to_id: int) -> None:
    """The enclave's log has every decision up to this one."""
    waiting = Report.delivered.is_(False), Report.id <= up_to_id
    session.execute(update(Report).where(*waiting).values(delivered=True))
