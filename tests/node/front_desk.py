"""A gateway's desk for sites on their way in and out: real TLS, real signatures, policies that are really signed.

It follows the contract of enrolment; `alter` changes the bundle on its way out, `fail` answers with an error first.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from cryptography.hazmat.primitives.serialization import Encoding
from tests.node.certificates import Authority
from tests.node.federation import DISTANT, Homes
from tests.node.https_server import Exchange, HttpsServer
from tests.node.relay_rounds import Refused
from tests.playground import government_of

from crimson_governance.in_process import Government
from crimson_protocol.enrolment import (
    INVITATION_VERSION,
    EnrolmentState,
    Invitation,
    JoinRequest,
    Token,
    open_join,
    open_leave,
    open_rotation,
    token_text,
)
from crimson_protocol.policy.document import Policy, RosterEntry
from crimson_protocol.policy.update import anchor_of
from crimson_protocol.secret.keys import IdentityKey
from crimson_protocol.wire import web

SITE, NEEDED = "general-hospital", 2


@dataclass
class Invited:
    """One invitation as the gateway keeps it. used: the request that was made under it."""

    invitation: Invitation
    key: bytes
    place: int
    used: bytes | None = None
    revoked: bool = False


@dataclass
class FrontDesk:
    """Serves one federation of four, whose policy tests publish as they like."""

    folder: Path
    authority: Authority
    clock: Callable[[], float] = time.time
    requests: list[Exchange] = field(default_factory=list)
    states: dict[str, EnrolmentState] = field(default_factory=dict)
    fail: list[Exception] = field(default_factory=list)
    alter: Callable[[bytes], bytes] | None = None

    def __post_init__(self) -> None:
        self.homes = Homes(self.folder, 4)
        self.policy = self.homes.parties.policy
        self.bundle = self.homes.parties.signed
        self.rotations: dict[str, bytes] = {}
        self.farewells: dict[str, bytes] = {}
        self._invited: list[Invited] = []
        self._government = government_of(self.homes.parties.governor)
        self._names: dict[int, str] = {place: f"site-{place}" for place in range(4)}
        certificate = self.authority.issue(self.folder)
        self.server = HttpsServer(certificate, self.answer, self.policy, self.clock)

    def __enter__(self) -> "FrontDesk":
        self.server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.server.stop()

    # What operators and governors do.

    @property
    def government(self) -> Government:
        return self._government

    def use(self, government: Government) -> None:
        """Another government from here on."""
        self._government = government

    def invitation(self, **changes: object) -> Invitation:
        """An invitation to this federation; `changes` override any field."""
        known = {
            "version": INVITATION_VERSION,
            "federation": self.policy.federation,
            "gateway": self.server.url,
            "authority": self.authority.certificate.public_bytes(Encoding.DER),
            "anchor": anchor_of(self.government.roots[0]),
            "policy_digest": self.policy.digest(),
            "policy_serial": self.policy.serial,
            "node": SITE,
            "organisation": "General Hospital",
            "kind": "hospital",
            "expires": int(self.clock()) + 3600,
            "issuer": "ops",
        }
        return Invitation(**{**known, **changes})

    def invite(self, **changes: object) -> str:
        """The text of a token that the gateway knows."""
        invitation, key = self.invitation(**changes), IdentityKey.fresh(os.urandom)
        place = 100 + len(self._invited)
        self._invited.append(Invited(invitation, key.public, place))
        self.server.know(key.public, place)
        return token_text(Token(invitation.to_bytes(), key.reveal()))

    def token_file(self, **changes: object) -> Path:
        """A file of its owner's alone with such a token."""
        path = self.folder / f"join-{len(self._invited)}.token"
        path.write_text(self.invite(**changes) + "\n")
        path.chmod(0o600)
        return path

    def revoke(self) -> None:
        """Take the last invitation back."""
        self._invited[-1].revoked = True

    def tell(self, state: str, approvals: int = NEEDED, reason: str | None = None, node: str = SITE) -> None:
        """Where a node's request stands from now on."""
        self.states[node] = EnrolmentState(node, state, approvals, NEEDED, reason)

    def publish(self, **changes: object) -> Policy:
        """The next policy, signed."""
        self.policy = replace(self.policy, serial=self.policy.serial + 1, **changes)
        self.bundle = self.government.publish(self.policy, DISTANT).to_bytes()
        return self.policy

    def list_site(self, node: str = SITE) -> None:
        """The governors list a node as it asked."""
        request = self.asked(node)
        entry = RosterEntry(
            node,
            request.organisation,
            request.kind,
            request.identity_key,
            request.encryption_key,
            "active",
        )
        self.publish(roster=(*self.policy.roster, entry))
        self.tell("listed", node=node)

    def asked(self, node: str = SITE) -> JoinRequest:
        """The request of a node, as it was checked."""
        used = [one.used for one in self._invited if one.used and one.invitation.node == node]
        return open_join(used[-1], None)

    def asked_for(self, path: str) -> list[Exchange]:
        """Authentic requests to a path so far."""
        return [exchange for exchange in self.requests if exchange.path == path]

    # What sites ask.

    def answer(self, exchange: Exchange) -> tuple[int, str, bytes]:
        """Status, media type and body for one request whose signature holds."""
        self.requests.append(exchange)
        if self.fail:
            raise self.fail.pop(0)
        invited = next((one for one in self._invited if one.place == exchange.node), None)
        if invited is not None and exchange.path != "/v1/enrolments/self":
            self._refuse_over(invited)
        match exchange.method, exchange.path:
            case "GET", "/v1/policy":
                return 200, web.CBOR, self.alter(self.bundle) if self.alter else self.bundle
            case "GET", "/v1/enrolments/self":
                return self._state(self._name(exchange))
            case "POST", "/v1/enrolments":
                return self._join(invited, exchange.body)
            case "POST", "/v1/enrolments/rotation":
                return self._rotate(exchange)
            case "POST", "/v1/enrolments/leave":
                return self._leave(exchange)
        raise Refused(404, "not-found")

    def _refuse_over(self, invited: Invited) -> None:
        if invited.revoked:
            raise Refused(403, "invitation-revoked")
        if invited.used is None and invited.invitation.expires <= self.clock():
            raise Refused(403, "invitation-expired")

    def _name(self, exchange: Exchange) -> str:
        if exchange.node not in self._names:
            raise Refused(404, "unknown-enrolment")
        return self._names[exchange.node]

    def _state(self, node: str) -> tuple[int, str, bytes]:
        return 200, web.CBOR, self.states[node].to_bytes()

    def _join(self, invited: Invited | None, body: bytes) -> tuple[int, str, bytes]:
        if invited is None:
            raise Refused(403, "not-permitted")
        request = open_join(body, invited.key)
        if request.invitation != invited.invitation.digest():
            raise Refused(404, "unknown-invitation")
        if invited.used not in (None, body):
            raise Refused(409, "invitation-used")
        if invited.used is None:
            invited.used = body
            place = invited.place + 100
            self.server.know(request.identity_key, place)
            self._names |= {invited.place: request.node, place: request.node}
            self.tell("requested", 0, node=request.node)
        return self._state(request.node)

    def _rotate(self, exchange: Exchange) -> tuple[int, str, bytes]:
        request = open_rotation(exchange.body)
        node = self._name(exchange)
        assert request.node == node
        if self.rotations.setdefault(node, exchange.body) != exchange.body:
            raise Refused(409, "rotation-pending")
        return 200, web.CBOR, EnrolmentState(node, "requested", 0, NEEDED, None).to_bytes()

    def _leave(self, exchange: Exchange) -> tuple[int, str, bytes]:
        request = open_leave(exchange.body)
        node = self._name(exchange)
        assert request.node == node
        assert self.farewells.setdefault(node, exchange.body) == exchange.body
        return 200, web.CBOR, EnrolmentState(node, "revoked", 0, NEEDED, None).to_bytes()
