"""What may change from one policy to the next. Indices of the roster live on in bindings, receipts and journals."""

from crimson_protocol.errors import PolicyRefusal
from crimson_protocol.policy.bundle import MAX_BUNDLE, PolicyBundle
from crimson_protocol.policy.document import MAX_POLICY, Policy
from crimson_protocol.policy.privacy import charged_unit
from crimson_protocol.refusal import Refusal

LISTED, NEW_KEY = "listed", "key-rotated"


def policy_before(bundle: bytes) -> Policy:
    """The policy in a bundle that a party kept itself when it followed it: verified then, and perhaps expired since.

    Raises PeerFault.
    """
    return Policy.from_bytes(PolicyBundle.from_bytes(bundle, MAX_BUNDLE).policy, MAX_POLICY)


def refuse_discontinuous(before: Policy, after: Policy) -> None:
    """PolicyRefusal(POLICY_REJECTED) where a later policy is of another federation, moves or removes a roster entry,
    gives it to another organisation, lets a model start from another artifact, or charges it for another unit."""
    if before.federation != after.federation:
        raise _rejected(f"the policy is of federation {after.federation!r}")
    for place, entry in enumerate(before.roster):
        following = after.roster[place] if place < len(after.roster) else None
        if following is None or following.node != entry.node:
            raise _rejected(f"{entry.node} must stay at place {place} of the roster: revoke it instead")
        if following.organisation != entry.organisation:
            raise _rejected(f"{entry.node} cannot move to another organisation: list a new node")
        if entry.status == "revoked" and following.status != "revoked":
            raise _rejected(f"{entry.node} was revoked for good: list a new node")
    initial = {rules.model: rules.initial_digest for rules in before.models}
    units = {rules.model: charged_unit(rules.privacy) for rules in before.models if rules.privacy}
    for rules in after.models:
        # Charges add up for one kind of neighbour alone, and a promise of privacy is not taken back.
        unit = charged_unit(rules.privacy) if rules.privacy else "nothing"
        if units.get(rules.model, unit) != unit:
            text = f"{rules.model} is charged per {units[rules.model]} and cannot be per {unit}"
            raise _rejected(f"{text}: give the new model a new name")
        if initial.get(rules.model, rules.initial_digest) != rules.initial_digest:
            raise _rejected(
                f"{rules.model} cannot start from another artifact: give the new model a new name"
            )


def changes(before: Policy | None, after: Policy) -> list[tuple[str, str]]:
    """Each node that changed, and what became of it: its new status, `listed`, or `key-rotated`."""
    known = {entry.node: entry for entry in before.roster} if before else {}
    found = []
    for entry in after.roster:
        earlier = known.get(entry.node)
        if earlier is None:
            found.append((entry.node, LISTED))
        elif earlier.status != entry.status:
            found.append((entry.node, entry.status))
        if earlier is not None and earlier.identity_key != entry.identity_key:
            found.append((entry.node, NEW_KEY))
    return found


def _rejected(text: str) -> PolicyRefusal:
    return PolicyRefusal(Refusal.POLICY_REJECTED, text)
