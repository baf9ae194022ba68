"""Which signed policy an enclave follows: the newest that verifies against what its sealed state trusts."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from crimson_protocol.errors import CrimsonError
from crimson_protocol.policy.document import Policy
from crimson_protocol.policy.update import Trust, Verified, update


@dataclass(frozen=True)
class Followed:
    """A verified policy with the very bytes that it came in: they are kept for the next start."""

    verified: Verified
    bundle: bytes = field(repr=False)

    @property
    def policy(self) -> Policy:
        """The policy itself."""
        return self.verified.policy

    @property
    def trust(self) -> Trust:
        """What an update to a later one starts from."""
        return self.verified.trust


def follow(trust: Trust, bundle: bytes, now: int) -> Followed:
    """The policy in a bundle. Raises PeerFault and PolicyRefusal as `update` does."""
    return Followed(update(trust, bundle, now), bundle)


def newest(trust: Trust, bundles: Iterable[bytes], now: int) -> Followed:
    """The latest of the bundles that verifies: the operator's copy may be behind the one adopted while running.

    Raises what the first of them raised where none does.
    """
    found: Followed | None = None
    failed: CrimsonError | None = None
    for bundle in bundles:
        try:
            candidate = follow(trust, bundle, now)
        except CrimsonError as error:
            failed = failed or error
            continue
        if found is None or _age(candidate) > _age(found):
            found = candidate
    if found is None:
        raise failed or AssertionError("no bundle at all")
    return found


def _age(followed: Followed) -> tuple[int, int]:
    seen = followed.trust.seen
    return (seen.targets, seen.timestamp) if seen else (0, 0)
