"""Nonces that were used, and when each node last spoke."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from crimson_gateway.store.put import put
from crimson_gateway.store.tables import NodeSeen, Nonce


def live_nonces(session: Session, now: int) -> Sequence[tuple[str, str, int]]:
    """(key id, nonce, expiry) of every nonce that still counts."""
    rows = session.execute(
        select(Nonce.key_id, Nonce.nonce, Nonce.expires).where(Nonce.expires > now).order_by(Nonce.expires)
    )
    return [(key_id, nonce, expires) for key_id, nonce, expires in rows]


def forget_nonces(session: Session, now: int) -> None:
    """Expired nonces go."""
    session.execute(delete(Nonce).where(Nonce.expires <= now))


def add_nonces(session: Session, spent: Sequence[tuple[str, str, int]]) -> None:
    """Note nonces that were used. One that expired a while ago may come again: its row is renewed, so that nobody's
    nonce spoils the commit that others share."""
    rows = [{"key_id": key_id, "nonce": nonce, "expires": expires} for key_id, nonce, expires in spent]
    if rows:
        session.execute(insert(Nonce).prefix_with("OR REPLACE"), rows)


def nodes_spoke(session: Session, nodes: Mapping[int, datetime]) -> None:
    """Note when nodes last spoke."""
    for node, at in nodes.items():
        put(session, NodeSeen, {"node": node}, {"at": at})


def nodes_seen(session: Session) -> dict[int, datetime]:
    """When each node last spoke."""
    return {row.node: row.at for row in session.scalars(select(NodeSeen))}
