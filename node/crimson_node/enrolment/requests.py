"""The three requests that a site signs: to be listed, to be listed with other keys, and to leave."""

from crimson_node.home import NodeKeys
from crimson_protocol.crypto.labels import JOIN, LEAVE, ROTATION
from crimson_protocol.enrolment import (
    JOIN_VERSION,
    LEAVE_VERSION,
    ROTATION_VERSION,
    Invitation,
    JoinRequest,
    LeaveRequest,
    RotationRequest,
    SignedJoin,
    SignedLeave,
    SignedRotation,
    signed_bytes,
)
from crimson_protocol.secret.keys import IdentityKey


def join_request(invitation: Invitation, key: IdentityKey, keys: NodeKeys, now: int) -> bytes:
    """A SignedJoin at `now` (Unix seconds): under the invitation's key, and under the identity key it asks for.

    It names the policy of the invitation, so that it can also be made where no network may be used.
    """
    request = JoinRequest(
        version=JOIN_VERSION,
        invitation=invitation.digest(),
        federation=invitation.federation,
        node=invitation.node,
        organisation=invitation.organisation,
        kind=invitation.kind,
        identity_key=keys.identity.public,
        encryption_key=keys.encryption.public,
        policy_digest=invitation.policy_digest,
        time=now,
    ).to_bytes()
    message = signed_bytes(JOIN, request)
    return SignedJoin(request, key.sign(message), keys.identity.sign(message)).to_bytes()


def rotation_request(federation: str, node: str, before: NodeKeys, after: NodeKeys, now: int) -> bytes:
    """A SignedRotation: the old identity key vouches for the new one, which shows that it is held here."""
    request = RotationRequest(
        version=ROTATION_VERSION,
        federation=federation,
        node=node,
        previous=before.identity.public,
        identity_key=after.identity.public,
        encryption_key=after.encryption.public,
        time=now,
    ).to_bytes()
    message = signed_bytes(ROTATION, request)
    return SignedRotation(request, before.identity.sign(message), after.identity.sign(message)).to_bytes()


def leave_request(federation: str, node: str, identity: IdentityKey, now: int) -> bytes:
    """A SignedLeave."""
    request = LeaveRequest(LEAVE_VERSION, federation, node, identity.public, now).to_bytes()
    return SignedLeave(request, identity.sign(signed_bytes(LEAVE, request))).to_bytes()
