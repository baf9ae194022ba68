"""Requests as they come in: to join, to be listed with new keys, to leave. Each is checked whole, then stored whole.

Every function runs inside one writing transaction, raises Problem for a request that is refused, and gives the same
answer to the same bytes. `fresh` says whether the request came for the first time.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy.orm import Session

from crimson_gateway.enrolment.membership import (
    entry_of,
    refuse_held,
    refuse_known_keys,
    refuse_listed,
    refuse_unwelcome,
)
from crimson_gateway.enrolment.promises import refuse_spent
from crimson_gateway.problems import Problem
from crimson_gateway.store.enrolments import (
    JOIN,
    LEAVE,
    ROTATION,
    add_enrolment,
    change_enrolment,
    enrolment_by_digest,
    open_enrolments,
)
from crimson_gateway.store.invitations import invitation_by_digest, use_invitation
from crimson_gateway.store.reports import report
from crimson_gateway.store.suspensions import REVOKED, suspend
from crimson_gateway.store.tables import Enrolment
from crimson_gateway.store.tables import Invitation as InvitationRow
from crimson_protocol.enrolment import (
    Invitation,
    JoinRequest,
    LeaveRequest,
    RotationRequest,
    open_join,
    open_leave,
    open_rotation,
)
from crimson_protocol.errors import PeerFault
from crimson_protocol.policy.document import Policy, RosterEntry
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.web import MAX_SKEW

Opened = TypeVar("Opened", JoinRequest, RotationRequest, LeaveRequest)
OLDEST = timedelta(days=30)
"""A request signed longer ago is not taken, and one that nobody decided for so long expires."""


@dataclass(frozen=True)
class Received:
    """A request that is in the database."""

    enrolment: Enrolment
    fresh: bool


def receive_join(
    session: Session, policy: Policy, body: bytes, invitation_key: bytes | None, now: datetime
) -> Received:
    """A site's request to be listed. `invitation_key`: the key that the HTTP request was signed with, None where an
    operator carries the request for a site that may not connect yet."""
    known = enrolment_by_digest(session, hashlib.sha256(body).digest())
    request = _opened(lambda: open_join(body, None))
    row = invitation_by_digest(session, request.invitation)
    if row is None:
        raise Problem("unknown-invitation")
    if invitation_key is not None and invitation_key != row.key:
        raise Problem("enrolment-differs", "invitation: the request names another one")
    if known is not None:
        return Received(known, False)
    _opened(lambda: open_join(body, row.key))
    if row.used_by is not None:
        raise Problem("invitation-used")
    refuse_spent(row, int(now.timestamp()))
    _as_promised(row, request, policy)
    _in_time(request.time, now)
    refuse_listed(policy, request.node)
    refuse_held(session, request.node, request.identity_key)
    if open_enrolments(session, request.node):
        raise Problem("enrolment-open")
    refuse_known_keys(session, policy, request.identity_key, request.encryption_key)
    refuse_unwelcome(policy, entry_of(request, request.identity_key, request.encryption_key))
    enrolment = _add(session, JOIN, body, request, now)
    if not use_invitation(session, row.digest, enrolment.digest):
        raise Problem("invitation-used")
    report(session, "node-requested", request.node, row.digest.hex(), now)
    return Received(enrolment, True)


def receive_rotation(
    session: Session, policy: Policy, body: bytes, member: RosterEntry, now: datetime
) -> Received:
    """A member's request to be listed with new keys. A later one takes the place of one that is not decided yet."""
    request = _opened(lambda: open_rotation(body))
    _of_member(request.federation, request.node, request.previous, policy, member)
    known = enrolment_by_digest(session, hashlib.sha256(body).digest())
    if known is not None:
        return Received(known, False)
    _in_time(request.time, now)
    # The caller was admitted before its body was read, and may have been revoked since.
    refuse_held(session, request.node, request.previous)
    refuse_held(session, request.node, request.identity_key)
    for earlier in open_enrolments(session, request.node):
        change_enrolment(session, earlier, "refused", "a later request took its place", now)
    refuse_known_keys(session, policy, request.identity_key, request.encryption_key)
    enrolment = _add(session, ROTATION, body, request, now)
    report(session, "key-rotation-requested", request.node, request.node, now)
    return Received(enrolment, True)


def receive_leave(
    session: Session, policy: Policy, body: bytes, member: RosterEntry, now: datetime
) -> Received:
    """A member leaves: its keys are revoked here at once, and governors get the request."""
    request = _opened(lambda: open_leave(body))
    _of_member(request.federation, request.node, request.identity_key, policy, member)
    known = enrolment_by_digest(session, hashlib.sha256(body).digest())
    if known is not None:
        return Received(known, False)
    refuse_held(session, request.node, request.identity_key)
    _in_time(request.time, now)
    keys = [request.identity_key]
    for earlier in open_enrolments(session, request.node):
        # Governors may hold its approved request for other keys: those go with it.
        keys.append(earlier.identity_key)
        change_enrolment(session, earlier, "refused", "the node left", now)
    enrolment = _add(session, LEAVE, body, request, now)
    suspend(session, request.node, keys, REVOKED, operator=request.node, reason="it left", now=now)
    report(session, "node-left", request.node, request.node, now)
    return Received(enrolment, True)


def _opened(opening: Callable[[], Opened]) -> Opened:
    """The request behind its signatures. Raises Problem(enrolment-malformed, enrolment-unproven)."""
    try:
        return opening()
    except PeerFault as fault:
        if fault.code is Refusal.BAD_SIGNATURE:
            raise Problem("enrolment-unproven") from fault
        raise Problem("enrolment-malformed", fault.code.value) from fault


def _as_promised(row: InvitationRow, request: JoinRequest, policy: Policy) -> None:
    """Raise Problem(enrolment-differs) unless the request asks for exactly what the invitation promises."""
    promised = Invitation.from_bytes(row.record, len(row.record))
    for name in ("federation", "node", "organisation", "kind"):
        if getattr(request, name) != getattr(promised, name):
            raise Problem("enrolment-differs", f"{name} is not the invitation's")
    if request.federation != policy.federation:
        raise Problem("enrolment-differs", "federation is not this one")
    if request.policy_digest not in (promised.policy_digest, policy.digest()):
        raise Problem(
            "enrolment-differs", "policy_digest is neither the invitation's nor that of the policy in force"
        )


def _of_member(federation: str, node: str, key: bytes, policy: Policy, member: RosterEntry) -> None:
    """Raise Problem(enrolment-differs) unless a request is the calling member's own."""
    if federation != policy.federation:
        raise Problem("enrolment-differs", "federation is not this one")
    if (node, key) != (member.node, member.identity_key):
        raise Problem("enrolment-differs", "the request is another node's")


def _in_time(signed: int, now: datetime) -> None:
    age = int(now.timestamp()) - signed
    if age < -MAX_SKEW or age > OLDEST.total_seconds():
        raise Problem("enrolment-differs", "time: the request is from the future, or older than 30 days")


def _add(
    session: Session,
    kind: str,
    body: bytes,
    request: JoinRequest | RotationRequest | LeaveRequest,
    now: datetime,
) -> Enrolment:
    return add_enrolment(
        session,
        request.node,
        kind,
        digest=hashlib.sha256(body).digest(),
        request=body,
        identity_key=request.identity_key,
        encryption_key=None if isinstance(request, LeaveRequest) else request.encryption_key,
        # Whoever leaves needs nobody's approval.
        state="approved" if kind == LEAVE else "requested",
        now=now,
    )
