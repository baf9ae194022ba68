"""A site as it meets the gateway: invited, joining, changing its keys, leaving. Every part of it can be made wrong."""

import hashlib
import os
import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import httpx
from tests.gateway.federation import Federation
from tests.gateway.signed_client import SignedClient

from crimson_protocol.crypto.labels import FINGERPRINT, JOIN, LEAVE, ROTATION
from crimson_protocol.enrolment import (
    INVITATION_VERSION,
    JOIN_VERSION,
    LEAVE_VERSION,
    ROTATION_VERSION,
    EnrolmentState,
    Invitation,
    JoinRequest,
    LeaveRequest,
    NewInvitation,
    RotationRequest,
    SignedJoin,
    SignedLeave,
    SignedRotation,
    signed_bytes,
)
from crimson_protocol.policy.update import anchor_of
from crimson_protocol.secret.keys import BoxKey, IdentityKey
from crimson_protocol.wire import cbor
from crimson_protocol.words import fingerprint


def reports(federation: Federation) -> list[tuple[str, str, str, str | None]]:
    """(kind, subject, actor, code) of every decision, in order."""
    with closing(sqlite3.connect(federation.home / "gateway.db")) as database:
        return database.execute("SELECT kind, subject, actor, code FROM reports ORDER BY id").fetchall()


class Site:
    """One site with fresh keys. `changes` go to its invitation."""

    def __init__(self, federation: Federation, node: str, **changes: object) -> None:
        self.federation, self.node = federation, node
        self.invitation_key = IdentityKey.fresh(os.urandom)
        self.fresh_keys()
        policy = federation.parties.policy
        known = {
            "version": INVITATION_VERSION,
            "federation": policy.federation,
            "gateway": federation.url,
            "authority": None,
            "anchor": anchor_of(federation.parties.first_root),
            "policy_digest": policy.digest(),
            "policy_serial": policy.serial,
            "node": node,
            "organisation": f"organisation of {node}",
            "kind": "hospital",
            "expires": int(time.time()) + 3600,
            "issuer": "operator",
        }
        self.invitation = Invitation(**{**known, **changes})

    def fresh_keys(self) -> None:
        self.identity, self.box = IdentityKey.fresh(os.urandom), BoxKey.fresh(os.urandom)

    def client(self, key: IdentityKey | None = None) -> SignedClient:
        """Signs with the invitation's key, or another."""
        return self.federation.signing(key or self.invitation_key)

    def invite(self, operator: SignedClient | None = None) -> httpx.Response:
        """Have the operator tell the gateway of the invitation."""
        body = NewInvitation(self.invitation.to_bytes(), self.invitation_key.public).to_bytes()
        return (operator or self.federation.operator()).ask("POST", "/v1/invitations", body)

    def request(self, by: IdentityKey | None = None, **changes: object) -> bytes:
        """The signed request; `changes` are signed as well. `by` signs in the invitation key's place."""
        known = JoinRequest(
            version=JOIN_VERSION,
            invitation=self.invitation.digest(),
            federation=self.invitation.federation,
            node=self.node,
            organisation=self.invitation.organisation,
            kind=self.invitation.kind,
            identity_key=self.identity.public,
            encryption_key=self.box.public,
            policy_digest=self.invitation.policy_digest,
            time=int(time.time()),
        )
        request = replace(known, **changes).to_bytes()
        message = signed_bytes(JOIN, request)
        keys = by or self.invitation_key, self.identity
        return SignedJoin(request, *(key.sign(message) for key in keys)).to_bytes()

    def join(self, body: bytes | None = None, client: SignedClient | None = None) -> httpx.Response:
        """Send the request."""
        return (client or self.client()).ask("POST", "/v1/enrolments", body or self.request())

    def joined(self) -> "Site":
        """Invite and join; the request stays in `body`."""
        assert self.invite().status_code == 201
        self.body = self.request()
        answer = self.join(self.body)
        assert answer.status_code == 201, answer.text
        return self

    def state(self, key: IdentityKey | None = None) -> EnrolmentState:
        """What the gateway tells the site."""
        answer = self.client(key).ask("GET", "/v1/enrolments/self")
        assert answer.status_code == 200, answer.text
        return EnrolmentState.from_bytes(answer.content, 4096)

    @property
    def words(self) -> str:
        """What the site reads out by phone."""
        return " ".join(fingerprint(self.identity.public, self.box.public))

    @property
    def digest(self) -> str:
        """The same as its whole digest."""
        keys = [FINGERPRINT, self.identity.public, self.box.public]
        return hashlib.sha256(cbor.encode(keys)).hexdigest()


class Member(Site):
    """A node of the roster."""

    def __init__(self, federation: Federation, index: int) -> None:
        super().__init__(federation, federation.parties.policy.roster[index].node)
        self.index, self.current = index, federation.parties.identities[index]

    def rotation(self, **changes: object) -> bytes:
        """A signed request for the site's fresh keys."""
        known = RotationRequest(
            version=ROTATION_VERSION,
            federation=self.invitation.federation,
            node=self.node,
            previous=self.current.public,
            identity_key=self.identity.public,
            encryption_key=self.box.public,
            time=int(time.time()),
        )
        request = replace(known, **changes).to_bytes()
        message = signed_bytes(ROTATION, request)
        return SignedRotation(request, self.current.sign(message), self.identity.sign(message)).to_bytes()

    def rotate(self, body: bytes | None = None) -> httpx.Response:
        """Send it under the key so far."""
        body = body or self.rotation()
        return self.client(self.current).ask("POST", "/v1/enrolments/rotation", body)

    def leaving(self, **changes: object) -> bytes:
        """A signed request to leave."""
        known = LeaveRequest(
            version=LEAVE_VERSION,
            federation=self.invitation.federation,
            node=self.node,
            identity_key=self.current.public,
            time=int(time.time()),
        )
        request = replace(known, **changes).to_bytes()
        return SignedLeave(request, self.current.sign(signed_bytes(LEAVE, request))).to_bytes()

    def leave(self, body: bytes) -> httpx.Response:
        """Send it."""
        return self.client(self.current).ask("POST", "/v1/enrolments/leave", body)
