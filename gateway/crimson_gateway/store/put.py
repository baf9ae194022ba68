"""One row under its primary key, whether it was there or not, in one statement."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from crimson_gateway.store.tables import Base


def put(session: Session, table: type[Base], key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Insert the row, or change its values where the key is taken. `values` are at least one."""
    row = insert(table).values({**key, **values})
    session.execute(row.on_conflict_do_update(index_elements=list(key), set_=dict(values)))
