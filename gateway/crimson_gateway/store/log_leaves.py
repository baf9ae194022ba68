"""The copy of the enclave's log from which consistency proofs are computed."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from crimson_gateway.store.tables import Leaf


async def leaves_from(session: AsyncSession, start: int, limit: int | None = None) -> Sequence[bytes]:
    """Leaves from an index on, in order."""
    query = select(Leaf.data).where(Leaf.index >= start).order_by(Leaf.index)
    return (await session.scalars(query if limit is None else query.limit(limit))).all()


async def replace_leaves(session: AsyncSession, start: int, leaves: Sequence[bytes]) -> None:
    """Everything from `start` on becomes `leaves`."""
    await session.execute(delete(Leaf).where(Leaf.index >= start))
    session.add_all(Leaf(index=start + place, data=data) for place, data in enumerate(leaves))
