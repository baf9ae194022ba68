"""What operators hold against nodes, from the moment they say so."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from crimson_gateway.store.put import put
from crimson_gateway.store.tables import Suspension

SUSPENDED, REVOKED = "suspended", "revoked"


def suspend(
    session: Session,
    node: str,
    keys: Collection[bytes],
    state: str,
    *,
    operator: str,
    reason: str,
    now: datetime,
) -> None:
    """Hold these keys of a node back. A key that is revoked stays revoked."""
    values = {"state": state, "operator": operator, "reason": reason, "at": now}
    held = {row.identity_key: row.state for row in suspensions(session, node)}
    for key in keys:
        if held.get(key) != REVOKED:
            put(session, Suspension, {"node": node, "identity_key": key}, values)


def lift_suspension(session: Session, node: str) -> bool:
    """The node may take part again, where no key of it is revoked; whether it was suspended."""
    removed = delete(Suspension).where(Suspension.node == node, Suspension.state == SUSPENDED)
    return session.execute(removed.returning(Suspension.node)).first() is not None


def suspensions(session: Session, node: str | None = None) -> Sequence[Suspension]:
    """Everything that is held against one node, or against any."""
    query = select(Suspension).order_by(Suspension.node, Suspension.at)
    return session.scalars(query if node is None else query.where(Suspension.node == node)).all()
