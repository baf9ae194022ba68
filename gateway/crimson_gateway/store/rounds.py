"""Rounds as the database holds them: who is ready, where each stands, what operators see."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from crimson_gateway.store.put import put
from crimson_gateway.store.tables import Fault, Ready, Round
from crimson_protocol.wire.web import GATHERING, OVER


def add_round(
    session: Session, model: str, now: datetime, deadline: datetime, strategy: str | None = None
) -> Round:
    """A round that waits for its nodes; `strategy` where an operator chose an alternative of the policy's."""
    round_ = Round(
        model=model,
        strategy=strategy,
        number=0,
        attempt=0,
        state=GATHERING,
        waiting="[]",
        created=now,
        phase_began=now,
        deadline=deadline,
        version=1,
    )
    session.add(round_)
    session.flush()
    return round_


def round_by_id(session: Session, round_id: int) -> Round | None:
    """One round, fresh from the database."""
    return session.get(Round, round_id)


def oldest_open(session: Session, after: int = 0) -> Round | None:
    """The oldest round that is not over, with an id above `after`."""
    query = select(Round).where(Round.id > after, Round.state.not_in(OVER)).order_by(Round.id).limit(1)
    return (session.scalars(query)).first()


def newest_rounds(session: Session, before: int | None, limit: int) -> Sequence[Round]:
    """Rounds from the newest on, with ids below `before`."""
    query = select(Round).order_by(Round.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Round.id < before)
    return (session.scalars(query)).all()


def count_by_state(session: Session) -> dict[str, int]:
    """How many rounds are in each state."""
    rows = session.execute(select(Round.state, func.count()).group_by(Round.state))
    return {row.state: row[1] for row in rows}


def change_round(session: Session, round_id: int, **values: object) -> None:
    """Change a round; everybody who watches it sees a new version."""
    session.execute(update(Round).where(Round.id == round_id).values(version=Round.version + 1, **values))


def set_waiting(session: Session, round_: Round, nodes: Sequence[str]) -> None:
    """Note whose part is outstanding."""
    round_.waiting = json.dumps(list(nodes))
    change_round(session, round_.id, waiting=round_.waiting)


def mark_ready(session: Session, round_id: int, node: int, now: datetime) -> None:
    """A node trained and waits for the offer."""
    put(session, Ready, {"round_id": round_id, "node": node}, {"at": now})


def ready_nodes(session: Session, round_id: int) -> frozenset[int]:
    """Nodes that wait for the round's offer."""
    return frozenset(session.scalars(select(Ready.node).where(Ready.round_id == round_id)))


def forget_ready(session: Session, round_id: int) -> None:
    """The next attempt needs every node's word anew."""
    session.execute(delete(Ready).where(Ready.round_id == round_id))


def add_faults(
    session: Session, round_id: int, attempt: int, faults: Collection[tuple[str | None, str]]
) -> None:
    """Note what the enclave found, each once per attempt."""
    known = {(fault.culprit, fault.code) for fault in faults_of(session, round_id, attempt)}
    for culprit, code in faults:
        if (culprit, code) not in known:
            session.add(Fault(round_id=round_id, attempt=attempt, culprit=culprit, code=code))


def faults_of(session: Session, round_id: int, attempt: int | None = None) -> Sequence[Fault]:
    """Faults of a round, or of one attempt, in the order they were found."""
    query = select(Fault).where(Fault.round_id == round_id).order_by(Fault.id)
    if attempt is not None:
        query = query.where(Fault.attempt == attempt)
    return (session.scalars(query)).all()
