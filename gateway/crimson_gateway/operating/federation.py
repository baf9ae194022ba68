"""The federation that a gateway serves, as its own signed policy says it, verified here."""

import time
from dataclasses import dataclass
from pathlib import Path

from crimson_gateway.failure import INTEGRITY, ClientFault, Failure
from crimson_gateway.operating.answers import odd
from crimson_gateway.operating.client import GatewayClient
from crimson_gateway.published import ANCHOR, read_regular
from crimson_protocol.policy.bundle import MAX_BUNDLE, MAX_METADATA, PolicyBundle
from crimson_protocol.policy.document import Policy
from crimson_protocol.policy.update import Trust, anchor_of, update


@dataclass(frozen=True)
class Federation:
    """A verified policy, and the SHA-256 of the root that everything in it hangs on. `pinned`: whether that root is the
    one that was known here before."""

    policy: Policy
    anchor: bytes
    pinned: bool


def known_anchor(home: Path) -> bytes | None:
    """The anchor of the gateway on this machine; None where no gateway is at home. Raises SettingsFault."""
    path = home / ANCHOR
    return anchor_of(read_regular(path, MAX_METADATA)) if path.is_file() else None


def read_federation(client: GatewayClient, expected: bytes | None) -> Federation:
    """The policy that the gateway serves. Raises ClientFault where it hangs on another root than `expected`, and what
    verifying raises."""
    data = client.policy()
    roots = PolicyBundle.from_bytes(data, MAX_BUNDLE).roots
    if not roots:
        raise odd("it has no root")
    anchor = anchor_of(roots[0])
    if expected is not None and anchor != expected:
        text = f"the gateway serves a policy of another root, {anchor.hex()}"
        hint = "ask the governors for the anchor; a site invited now would trust somebody else"
        raise ClientFault(Failure(INTEGRITY, "another-root", text, hint))
    verified = update(Trust.anchored(roots[0]), data, int(time.time()))
    return Federation(verified.policy, anchor, expected is not None)
