"""The keys that may sign requests: nodes and operators of the policy, and whoever was invited to join."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from crimson_gateway.problems import Problem
from crimson_protocol.policy.document import Policy
from crimson_protocol.wire import web

NODE, OPERATOR, INVITED, CANDIDATE = "node", "operator", "invitation", "candidate"
"""Roles: members, operators, keys of invitations, and identity keys that an open request asks to list."""
SUSPENDED, REVOKED, EXPIRED = "suspended", "revoked", "expired"


@dataclass(frozen=True)
class Caller:
    """Whoever signed a request.

    node: roster index of a member. name: of the node or the operator; for an invitation, of the node it is for.
    held: what stands against the key, if anything: suspended, revoked. expires: when an invitation's key ends, in Unix
    seconds, None where nothing ends.
    """

    key_id: str
    public: bytes
    name: str
    node: int | None
    role: str
    held: str | None = None
    expires: int | None = None


class Callers:
    """Callers by key id."""

    def __init__(self, callers: Iterable[Caller]) -> None:
        self._by_key = {caller.key_id: caller for caller in callers}
        # Stands in for unknown keys, so that they cost the same as known ones: the curve's base point. What
        # it verifies is refused all the same.
        self.nobody = Caller("", b"\x58" + b"\x66" * 31, "nobody", None, "nobody")

    @classmethod
    def of(cls, policy: Policy, guests: Iterable[Caller] = (), held: "Holds | None" = None) -> "Callers":
        """Members last: neither an operator's key nor a guest's ever stands for a node."""
        held = held or Holds(frozenset(), frozenset())
        staff = [caller_of(operator.key, operator.name, OPERATOR) for operator in policy.operators]
        nodes = [
            replace(
                caller_of(entry.identity_key, entry.node, NODE, index),
                held=held.against(entry.node, entry.identity_key)
                or (None if entry.status == "active" else entry.status),
            )
            for index, entry in enumerate(policy.roster)
        ]
        guests = [
            replace(guest, held=guest.held or held.against(guest.name, guest.public)) for guest in guests
        ]
        return cls([*guests, *staff, *nodes])

    def find(self, key_id: str) -> Caller | None:
        """The caller with this key id."""
        return self._by_key.get(key_id)

    def refuse_held(self, caller: Caller, now: int) -> None:
        """Raise the Problem that stands against a caller by now, in Unix seconds."""
        known = self.find(caller.key_id)
        if known is None:
            raise Problem("bad-signature")
        if known.held == SUSPENDED:
            raise Problem("node-suspended")
        if known.held == REVOKED and known.role == INVITED:
            raise Problem("invitation-revoked")
        if known.held == REVOKED:
            raise Problem("node-revoked")
        if known.expires is not None and known.expires <= now:
            raise Problem("invitation-expired")


@dataclass(frozen=True)
class Holds:
    """What operators hold against nodes: names that are suspended, and identity keys that are revoked."""

    suspended: frozenset[str]
    revoked: frozenset[bytes]

    def against(self, node: str, key: bytes) -> str | None:
        """What stands against a node that uses this key."""
        if key in self.revoked:
            return REVOKED
        return SUSPENDED if node in self.suspended else None


def caller_of(public: bytes, name: str, role: str, node: int | None = None) -> Caller:
    """A caller against whom nothing stands."""
    return Caller(web.key_id(public), public, name, node, role)
