"""The copy of the enclave's log from which consistency proofs are computed."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from crimson_gateway.store.tables import Leaf


def leaves_from(session: Session, start: int, limit: int | None = None) -> Sequence[bytes]:
    """Leaves from an index on, in order."""
    query = select(Leaf.data).where(Leaf.index >= start).order_by(Leaf.index)
    return (session.scalars(query if limit is None else query.limit(limit))).all()


def replace_leaves(session: Session, start: int, leaves: Sequence[bytes]) -> None:
    """Everything from `start` on becomes `leaves`."""
    session.execute(delete(Leaf).where(Leaf.index >= start))
    session.add_all(Leaf(index=start + place, data=data) for place, data in enumerate(leaves))
