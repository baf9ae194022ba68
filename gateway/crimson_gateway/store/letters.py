"""What the enclave said: letters of the running attempt, and the last release of every model."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from crimson_gateway.store.tables import Letter, Published, Round

MOST = 256


async def add_letter(
    session: AsyncSession,
    round_: Round,
    attempt: int,
    recipient: int | None,
    kind: int,
    digest: bytes,
    length: int,
    now: datetime,
) -> None:
    """One message for a node, or for all."""
    session.add(
        Letter(
            round_id=round_.id,
            attempt=attempt,
            recipient=recipient,
            kind=kind,
            digest=digest,
            length=length,
            at=now,
        )
    )
    # Letters get their sequence numbers in the order in which they were said.
    await session.flush()


async def letters_for(
    session: AsyncSession, round_id: int, attempt: int, node: int, after: int
) -> Sequence[Letter]:
    """Letters of one attempt to a node or to all, after a sequence number, in order."""
    query = (
        select(Letter)
        .where(
            Letter.round_id == round_id,
            Letter.attempt == attempt,
            Letter.sequence > after,
            or_(Letter.recipient.is_(None), Letter.recipient == node),
        )
        .order_by(Letter.sequence)
        .limit(MOST)
    )
    return (await session.scalars(query)).all()


async def forget_letters(session: AsyncSession, before: int) -> None:
    """Letters of rounds with an id below `before` are not needed any more."""
    await session.execute(delete(Letter).where(Letter.round_id < before))


async def publish(session: AsyncSession, model: str, number: int, digest: bytes) -> None:
    """The model's newest release."""
    await session.merge(Published(model=model, round=number, digest=digest))


async def published(session: AsyncSession, model: str) -> Published | None:
    """The model's newest release, if there is one."""
    return await session.get(Published, model)
