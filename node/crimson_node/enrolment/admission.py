"""Whether the federation behind a gateway is the one of the invitation, and whether its policy admits this site."""

from dataclasses import dataclass, field

from crimson_node.enrolment.errors import EnrolmentRefused
from crimson_node.home import NodeKeys
from crimson_node.transport.gateway import GATEWAY
from crimson_protocol.enrolment import EnrolmentState, Invitation
from crimson_protocol.errors import PeerFault
from crimson_protocol.policy.bundle import MAX_BUNDLE, PolicyBundle
from crimson_protocol.policy.decisions import may_join
from crimson_protocol.policy.document import Policy, RosterEntry
from crimson_protocol.policy.update import Trust, Verified, anchor_of, update
from crimson_protocol.refusal import Refusal

ASK_GOVERNORS = "ask whoever invited you; nothing was sent, and no key was kept"


@dataclass(frozen=True)
class Federation:
    """A verified policy, and the first root that it was verified from."""

    root: bytes = field(repr=False)
    verified: Verified = field(repr=False)

    @property
    def policy(self) -> Policy:
        """The policy that counts now."""
        return self.verified.policy


def verified_federation(data: bytes, invitation: Invitation, trust: Trust | None, now: int) -> Federation:
    """The federation that a bundle proves, if it is the invitation's. `trust`: how far its policies were followed
    before, None at the first look.

    Raises PeerFault on the gateway: POLICY_REJECTED for another federation or another first root than the
    invitation names, POLICY_WENT_BACK for an older policy, and whatever `policy.update.update` finds.
    """
    try:
        bundle = PolicyBundle.from_bytes(data, MAX_BUNDLE)
        if not bundle.roots or anchor_of(bundle.roots[0]) != invitation.anchor:
            text = "the gateway's policy descends from another first root than the invitation names"
            raise PeerFault(Refusal.POLICY_REJECTED, text)
        verified = update(trust or Trust.anchored(bundle.roots[0]), data, now)
        _refuse_other(verified.policy, invitation)
    except PeerFault as fault:
        raise fault.blamed_on(GATEWAY) from fault
    return Federation(bundle.roots[0], verified)


def refuse_unwelcome(policy: Policy, invitation: Invitation, keys: NodeKeys) -> None:
    """Raise EnrolmentRefused where the signed rules would not list this site, so that nobody waits for it."""
    entry = RosterEntry(
        invitation.node,
        invitation.organisation,
        invitation.kind,
        keys.identity.public,
        keys.encryption.public,
        "active",
    )
    decision = may_join(policy, entry)
    if not decision.allowed:
        text = f"policy {policy.serial} does not let {entry.node} join: {decision.reason}"
        raise EnrolmentRefused(text, ASK_GOVERNORS, "may-not-join")
    for known in policy.roster:
        if known.node == entry.node and known.identity_key != entry.identity_key:
            text = f"policy {policy.serial} lists a {entry.node} with other keys"
            hint = "restore that site's home, or ask for an invitation under another name"
            raise EnrolmentRefused(text, hint, "name-taken")


def is_listed(policy: Policy, node: str, keys: NodeKeys) -> bool:
    """Whether a policy lists this node with these keys."""
    wanted = node, keys.identity.public, keys.encryption.public
    return any((entry.node, entry.identity_key, entry.encryption_key) == wanted for entry in policy.roster)


def refuse_other_node(state: EnrolmentState, node: str) -> None:
    """Raise PeerFault(WRONG_CONTEXT) on the gateway where it speaks of another node than was asked for."""
    if state.node != node:
        raise PeerFault(Refusal.WRONG_CONTEXT, f"asked for {node}, it speaks of {state.node}", GATEWAY)


def _refuse_other(policy: Policy, invitation: Invitation) -> None:
    if policy.federation != invitation.federation:
        text = f"the gateway serves {policy.federation}, and the invitation is to {invitation.federation}"
        raise PeerFault(Refusal.POLICY_REJECTED, text)
    if policy.serial < invitation.policy_serial:
        text = f"policy {policy.serial} is older than {invitation.policy_serial}, known when you were invited"
        raise PeerFault(Refusal.POLICY_WENT_BACK, text)
    if policy.serial == invitation.policy_serial and policy.digest() != invitation.policy_digest:
        raise PeerFault(Refusal.POLICY_REJECTED, f"two policies carry serial {policy.serial}")
