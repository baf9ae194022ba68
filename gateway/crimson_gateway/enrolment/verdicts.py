"""What operators decide about requests and nodes, and what each site is told of it."""

from datetime import datetime

from sqlalchemy.orm import Session

from crimson_gateway.enrolment.fingerprints import matches
from crimson_gateway.enrolment.membership import hold_on, refuse_held
from crimson_gateway.enrolment.requests import OLDEST
from crimson_gateway.problems import Problem
from crimson_gateway.store.enrolments import (
    LEAVE,
    approvals_of,
    approve_enrolment,
    change_enrolment,
    enrolment_of_node,
    open_enrolments,
)
from crimson_gateway.store.invitations import OPEN
from crimson_gateway.store.reports import report
from crimson_gateway.store.suspensions import REVOKED, SUSPENDED, lift_suspension, suspend, suspensions
from crimson_gateway.store.tables import Enrolment
from crimson_protocol.enrolment import EnrolmentState
from crimson_protocol.policy.document import Policy


def requested(session: Session, node: str) -> Enrolment:
    """The node's open request, else its newest. Raises Problem(unknown-enrolment)."""
    enrolment = enrolment_of_node(session, node)
    if enrolment is None:
        raise Problem("unknown-enrolment", "this node sent none")
    return enrolment


def approvers(session: Session, policy: Policy, enrolment: Enrolment) -> list[str]:
    """Operators of the policy in force who approved, each once."""
    operators = {operator.name for operator in policy.operators}
    return [name for name in approvals_of(session, enrolment.id) if name in operators]


def approve(
    session: Session, policy: Policy, enrolment: Enrolment, operator: str, fingerprint: str, now: datetime
) -> None:
    """An operator compared `fingerprint` with the site. With enough of them the request is ready for the governors.

    Raises Problem(enrolment-closed, node-suspended, node-revoked, fingerprint-differs).
    """
    if enrolment.state not in OPEN or enrolment.kind == LEAVE or enrolment.encryption_key is None:
        raise Problem("enrolment-closed", f"it is {enrolment.state}")
    refuse_held(session, enrolment.node, enrolment.identity_key)
    if not matches(fingerprint, enrolment.identity_key, enrolment.encryption_key):
        raise Problem("fingerprint-differs")
    if approve_enrolment(session, enrolment.id, operator, now):
        report(session, "node-approved", enrolment.node, operator, now)
    enough = len(approvers(session, policy, enrolment)) >= policy.enrolment.approvals
    if enough and enrolment.state == "requested":
        change_enrolment(session, enrolment, "approved", None, now)


def keys_of(session: Session, policy: Policy, node: str) -> list[bytes]:
    """Identity keys that the policy or an open request has for a node. Raises Problem(unknown-node)."""
    listed = [entry.identity_key for entry in policy.roster if entry.node == node]
    asked = [enrolment.identity_key for enrolment in open_enrolments(session, node)]
    if not listed + asked:
        raise Problem("unknown-node")
    return list(dict.fromkeys(listed + asked))


def suspend_node(
    session: Session, policy: Policy, node: str, operator: str, reason: str, now: datetime
) -> None:
    """Hold a node back until it is resumed. Raises Problem(unknown-node)."""
    keys = keys_of(session, policy, node)
    suspend(session, node, keys, SUSPENDED, operator=operator, reason=reason, now=now)
    report(session, "node-suspended", node, operator, now)


def resume_node(session: Session, policy: Policy, node: str, operator: str, now: datetime) -> None:
    """Let a suspended node take part again; a revoked key stays revoked. Raises Problem(unknown-node, node-revoked)."""
    # A suspension can be lifted whatever became of the node's request.
    if lift_suspension(session, node):
        report(session, "node-resumed", node, operator, now)
        return
    keys = keys_of(session, policy, node)
    if {hold.identity_key for hold in suspensions(session, node)} & set(keys):
        raise Problem("node-revoked", "what is revoked cannot be resumed: invite the node anew")


def revoke_node(
    session: Session, policy: Policy, node: str, operator: str, reason: str, now: datetime
) -> None:
    """Refuse the node's keys from now on for good, and whatever it asks for. Raises Problem(unknown-node)."""
    keys = keys_of(session, policy, node)
    lift_suspension(session, node)
    for enrolment in open_enrolments(session, node):
        if enrolment.kind != LEAVE:
            change_enrolment(session, enrolment, "refused", reason, now)
            report(session, "node-refused", node, operator, now, "node-revoked")
    suspend(session, node, keys, REVOKED, operator=operator, reason=reason, now=now)
    report(session, "node-revoked", node, operator, now)


def settle(session: Session, policy: Policy, now: datetime) -> None:
    """Close what the policy in force has answered, and what nobody answered for thirty days."""
    active = {policy.roster[index].identity_key for index in policy.active()}
    for enrolment in open_enrolments(session):
        if (enrolment.identity_key in active) is not (enrolment.kind == LEAVE):
            change_enrolment(session, enrolment, "listed", None, now)
        elif now - enrolment.requested > OLDEST:
            change_enrolment(session, enrolment, "expired", "nobody decided it for thirty days", now)


def standing(
    session: Session, policy: Policy, node: str, identity_key: bytes, enrolment: Enrolment | None
) -> EnrolmentState:
    """Where a site stands: what is held against it, else its request, else that it is listed."""
    needed = policy.enrolment.approvals
    approved = 0 if enrolment is None else min(len(approvers(session, policy, enrolment)), needed)
    state, reason = ("listed", None) if enrolment is None else (enrolment.state, enrolment.reason)
    hold = hold_on(suspensions(session, node), identity_key)
    status = next((entry.status for entry in policy.roster if entry.identity_key == identity_key), "active")
    if hold is not None and state != "refused":
        state, reason = hold.state, hold.reason
    elif status != "active":
        state, reason = status, "the policy says so"
    return EnrolmentState(node, state, approved, needed, reason)
