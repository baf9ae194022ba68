"""What a site and its keys must be, by the policy in force and by what operators hold against it."""

from collections.abc import Iterable

from sqlalchemy.orm import Session

from crimson_gateway.problems import Problem
from crimson_gateway.store.enrolments import open_request_for
from crimson_gateway.store.invitations import invitation_of_key
from crimson_gateway.store.suspensions import REVOKED, SUSPENDED, suspensions
from crimson_gateway.store.tables import Suspension
from crimson_protocol.enrolment import Invitation, JoinRequest
from crimson_protocol.policy.decisions import may_join
from crimson_protocol.policy.document import Policy, RosterEntry


def entry_of(site: Invitation | JoinRequest, identity_key: bytes, encryption_key: bytes) -> RosterEntry:
    """The roster entry that a site asks for."""
    return RosterEntry(site.node, site.organisation, site.kind, identity_key, encryption_key, "active")


def refuse_unwelcome(policy: Policy, entry: RosterEntry) -> None:
    """Raise Problem(join-not-permitted) unless the policy enrols such a site, and its rules permit this one to join."""
    if entry.kind not in policy.enrolment.kinds:
        raise Problem("join-not-permitted", f"the policy enrols no {entry.kind}")
    decision = may_join(policy, entry)
    if not decision.allowed:
        raise Problem("join-not-permitted", decision.reason)


def refuse_known_keys(session: Session, policy: Policy, identity_key: bytes, encryption_key: bytes) -> None:
    """Raise Problem(key-listed) where one of the keys is a node's, an operator's, an invitation's, or in another open
    request."""
    keys = {identity_key, encryption_key}
    listed = {key for entry in policy.roster for key in (entry.identity_key, entry.encryption_key)}
    listed |= {operator.key for operator in policy.operators}
    if keys & listed:
        raise Problem("key-listed", "the policy lists it")
    if open_request_for(session, keys) is not None:
        raise Problem("key-listed", "another request asks for it")
    if invitation_of_key(session, identity_key) is not None:
        raise Problem("key-listed", "it is an invitation's")


def hold_on(held: Iterable[Suspension], identity_key: bytes) -> Suspension | None:
    """What counts against a node that uses this key: its revocation, else the node's suspension."""
    counting = [hold for hold in held if hold.state == SUSPENDED or hold.identity_key == identity_key]
    return min(counting, key=lambda hold: hold.state, default=None)


def refuse_suspended(session: Session, node: str) -> None:
    """Raise Problem(node-suspended) where the node is suspended, whatever its keys."""
    if any(hold.state == SUSPENDED for hold in suspensions(session, node)):
        raise Problem("node-suspended")


def refuse_held(session: Session, node: str, identity_key: bytes) -> None:
    """Raise Problem(node-suspended, node-revoked) where operators hold something against the node or the key."""
    hold = hold_on(suspensions(session, node), identity_key)
    if hold is not None and hold.state == REVOKED:
        raise Problem("node-revoked")
    refuse_suspended(session, node)


def refuse_listed(policy: Policy, node: str) -> None:
    """Raise Problem(node-listed) where the policy lists a node of this name, with whatever status: a member rotates
    its keys, and a name that was revoked is never used again."""
    if any(entry.node == node for entry in policy.roster):
        raise Problem("node-listed")
