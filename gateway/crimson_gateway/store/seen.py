"""Nonces that were used, and when each node last spoke."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from crimson_gateway.store.tables import NodeSeen, Nonce


async def live_nonces(session: AsyncSession, now: int) -> Sequence[tuple[str, str, int]]:
    """(key id, nonce, expiry) of every nonce that still counts."""
    rows = await session.execute(
        select(Nonce.key_id, Nonce.nonce, Nonce.expires).where(Nonce.expires > now).order_by(Nonce.expires)
    )
    return [(key_id, nonce, expires) for key_id, nonce, expires in rows]


async def forget_nonces(session: AsyncSession, now: int) -> None:
    """Expired nonces go."""
    await session.execute(delete(Nonce).where(Nonce.expires <= now))


async def add_nonces(session: AsyncSession, spent: Sequence[tuple[str, str, int]]) -> None:
    """Note nonces that were used."""
    rows = [{"key_id": key_id, "nonce": nonce, "expires": expires} for key_id, nonce, expires in spent]
    if rows:
        await session.execute(insert(Nonce), rows)


async def nodes_spoke(session: AsyncSession, nodes: Mapping[int, datetime]) -> None:
    """Note when nodes last spoke."""
    for node, at in nodes.items():
        await session.merge(NodeSeen(node=node, at=at))


async def nodes_seen(session: AsyncSession) -> dict[int, datetime]:
    """When each node last spoke."""
    return {row.node: row.at for row in await session.scalars(select(NodeSeen))}
