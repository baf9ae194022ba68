"""What the enclave said: letters of the running attempt, and the last release of every model."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, bindparam, delete, insert, or_, select
from sqlalchemy.orm import Session

from crimson_gateway.store.put import put
from crimson_gateway.store.tables import Letter, Published, Round

MOST = 256
# Every long-poll asks this at every ring: it is put together once.
_MAIL = (
    select(Round, Letter)
    .outerjoin(
        Letter,
        and_(
            Letter.round_id == Round.id,
            Letter.attempt == Round.attempt,
            Letter.sequence > bindparam("after"),
            or_(Letter.recipient.is_(None), Letter.recipient == bindparam("node")),
        ),
    )
    .where(Round.id == bindparam("round"))
    .order_by(Letter.sequence)
    .limit(MOST)
)
Said = tuple[int | None, int, bytes, int]
"""Recipient (None: all), kind, digest and length of a message."""


def add_letters(session: Session, round_: Round, said: Sequence[Said], now: datetime) -> None:
    """Messages of the round's attempt, each for a node or for all. Their sequence numbers follow their order."""
    if said:
        place = {"round_id": round_.id, "attempt": round_.attempt, "at": now}
        names = ("recipient", "kind", "digest", "length")
        # One statement for each row, in order: that is what gives out the numbers.
        session.execute(insert(Letter), [{**place, **dict(zip(names, row, strict=True))} for row in said])


def round_and_letters(
    session: Session, round_id: int, node: int, after: int
) -> tuple[Round, list[Letter]] | None:
    """A round, with its running attempt's letters to a node or to all, after a sequence number, in order."""
    rows = session.execute(_MAIL, {"round": round_id, "node": node, "after": after}).all()
    return (rows[0][0], [letter for _, letter in rows if letter is not None]) if rows else None


def forget_letters(session: Session, before: int) -> None:
    """Letters of rounds with an id below `before` are not needed any more."""
    session.execute(delete(Letter).where(Letter.round_id < before))


def publish(session: Session, model: str, number: int, digest: bytes) -> None:
    """The model's newest release."""
    put(session, Published, {"model": model}, {"round": number, "digest": digest})


def published(session: Session, model: str) -> Published | None:
    """The model's newest release, if there is one."""
    return session.get(Published, model)
