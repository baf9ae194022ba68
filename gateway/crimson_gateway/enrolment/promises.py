"""Invitations: what an operator may promise a site, and whether a promise still stands."""

from sqlalchemy.orm import Session

from crimson_gateway.enrolment.membership import (
    entry_of,
    refuse_known_keys,
    refuse_listed,
    refuse_suspended,
    refuse_unwelcome,
)
from crimson_gateway.problems import Problem
from crimson_gateway.store.invitations import invitation_of_key
from crimson_gateway.store.tables import Invitation as Row
from crimson_protocol.enrolment import Invitation, NewInvitation
from crimson_protocol.errors import PeerFault
from crimson_protocol.policy.document import Policy

CAP = 1 << 13
"""Most bytes of an invitation with its key."""
NO_KEYS = bytes(32), bytes(1216)


def read_new(body: bytes) -> tuple[Invitation, NewInvitation]:
    """An invitation as its operator sent it. Raises Problem(enrolment-malformed)."""
    try:
        new = NewInvitation.from_bytes(body, CAP)
        return Invitation.from_bytes(new.invitation, CAP), new
    except PeerFault as fault:
        raise Problem("enrolment-malformed", fault.code.value) from fault


def refuse_other(
    invitation: Invitation, policy: Policy, anchor: bytes, issuer: str, now: int, most_hours: int
) -> None:
    """Raise Problem(invitation-differs) unless the invitation is this operator's, for this federation, under the policy
    in force, and lasts no longer than it may."""
    expected = {
        "federation": policy.federation,
        "anchor": anchor,
        "policy_digest": policy.digest(),
        "policy_serial": policy.serial,
        "issuer": issuer,
    }
    for name, value in expected.items():
        if getattr(invitation, name) != value:
            raise Problem("invitation-differs", f"{name} is another one here")
    if not now < invitation.expires <= now + 3600 * most_hours + 60:
        raise Problem("invitation-differs", f"expires: an invitation lasts for at most {most_hours} hours")
    if "/" in invitation.node:
        raise Problem("invitation-differs", "node: a node's name has no slash")


def refuse_useless(session: Session, invitation: Invitation, key: bytes, policy: Policy) -> None:
    """Raise the Problem that a join under this invitation would meet, before anybody is sent it."""
    if invitation_of_key(session, key) is not None:
        raise Problem("invitation-exists")
    refuse_known_keys(session, policy, key, key)
    refuse_suspended(session, invitation.node)
    refuse_listed(policy, invitation.node)
    refuse_unwelcome(policy, entry_of(invitation, *NO_KEYS))


def refuse_spent(row: Row, now: int) -> None:
    """Raise Problem(invitation-revoked, invitation-expired) unless a request may come under it now."""
    if row.revoked:
        raise Problem("invitation-revoked")
    if row.expires <= now:
        raise Problem("invitation-expired")


def state_of(row: Row, now: int) -> str:
    """Where an invitation stands: open, used, expired or revoked."""
    if row.used_by is not None:
        return "used"
    if row.revoked:
        return "revoked"
    return "open" if row.expires > now else "expired"
