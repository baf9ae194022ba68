"""Who may call, from the policy in force and from what the database holds for and against keys."""

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from crimson_gateway.authentication.callers import (
    CANDIDATE,
    INVITED,
    REVOKED,
    Caller,
    Callers,
    Holds,
    caller_of,
)
from crimson_gateway.store import suspensions as held
from crimson_gateway.store.enrolments import told_enrolments
from crimson_gateway.store.invitations import invitations_that_sign
from crimson_protocol.policy.document import Policy

TOLD = timedelta(days=7)


def holds(session: Session) -> Holds:
    """What operators hold against nodes by now."""
    rows = held.suspensions(session)
    return Holds(
        frozenset(row.node for row in rows if row.state == held.SUSPENDED),
        frozenset(row.identity_key for row in rows if row.state == held.REVOKED),
    )


def callers(session: Session, policy: Policy, now: datetime) -> Callers:
    """Everybody who may call. Who asked to join may ask for a week what became of it."""
    since = now - TOLD
    return Callers.of(policy, [*_invited(session, since), *_candidates(session, since)], holds(session))


def held_nodes(session: Session, policy: Policy) -> frozenset[int]:
    """Roster indices of nodes that are held back here, whatever the policy says."""
    against = holds(session).against
    return frozenset(
        index for index, entry in enumerate(policy.roster) if against(entry.node, entry.identity_key)
    )


def _invited(session: Session, since: datetime) -> list[Caller]:
    """Keys of invitations. One that was used may still ask what became of its request, however late."""
    return [
        replace(
            caller_of(row.key, row.node, INVITED),
            held=REVOKED if row.revoked else None,
            expires=None if row.used_by is not None else row.expires,
        )
        for row in invitations_that_sign(session, since)
    ]


def _candidates(session: Session, since: datetime) -> list[Caller]:
    return [
        caller_of(enrolment.identity_key, enrolment.node, CANDIDATE)
        for enrolment in told_enrolments(session, since)
    ]
