"""What the parts of a running gateway share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from crimson_gateway.bells import Bells
from crimson_gateway.metrics import Metrics
from crimson_gateway.published import Published
from crimson_gateway.settings import GatewaySettings
from crimson_gateway.spool import Spool
from crimson_gateway.store.database import Database
from crimson_protocol.cohort import quorum
from crimson_protocol.policy.document import Policy
from crimson_protocol.wire import link

EARLIER = 4


def utc_now() -> datetime:
    """The present moment."""
    return datetime.now(UTC)


@dataclass
class EnclaveView:
    """What the driver last heard from the enclave."""

    connected: bool = False
    status: link.Status | None = None
    instance: tuple[int, bytes] | None = None
    """Epoch and instance: another pair is an enclave that started anew."""


@dataclass
class Context:
    """One running gateway.

    repository: folder of the published policy that it follows. published: the policy in force, replaced whole. held:
    roster indices of nodes that operators hold back. running_vector: bytes of a vector of the attempt that runs, which
    may be of an earlier policy.
    """

    home: Path
    settings: GatewaySettings
    repository: Path
    published: Published = field(repr=False)
    database: Database
    spool: Spool
    log: FilteringBoundLogger
    metrics: Metrics = field(default_factory=Metrics)
    bells: Bells = field(default_factory=Bells)
    view: EnclaveView = field(default_factory=EnclaveView)
    wake: Callable[[], None] = field(default=lambda: None)
    """Tells the driver that the database has something new for it."""
    earlier: tuple[Published, ...] = ()
    """The last policies before the one in force: an attempt keeps the one under which it was opened."""
    held: frozenset[int] = frozenset()
    running_vector: int = 0

    def adopt(self, found: Published) -> None:
        """Put another policy in force, in one step."""
        self.earlier = (self.published, *self.earlier)[:EARLIER]
        self.published = found

    def vector_length(self, model: str, policy_digest: bytes) -> int:
        """Bytes of a vector of the model under the policy with this digest, else under the one in force; 0 where
        neither lists the model."""
        known = [found for found in self.earlier if found.policy.digest() == policy_digest]
        return next(iter(known), self.published).vector_lengths.get(model, 0)

    def available(self, model: str) -> frozenset[int]:
        """Nodes that a round of the model may wait for: its members, but those that operators hold back."""
        return frozenset(self.policy.members(model)) - self.held

    @property
    def policy(self) -> Policy:
        """The policy in force. Ask once for what must not change in between."""
        return self.published.policy

    def names(self, nodes: "frozenset[int] | set[int]") -> list[str]:
        """Node ids of roster indices, in the roster's order."""
        return [self.policy.name(node) for node in sorted(nodes)]

    def nodes_needed(self, model: str) -> int:
        """Fewest ready nodes with which an attempt of the model can succeed."""
        numbers = self.policy.rules(model).numbers
        return max(quorum(len(self.policy.members(model)), numbers.corrupt), numbers.min_cohort)
