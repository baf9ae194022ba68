"""What every engine does: play rounds between a federation's parties, and say afterwards what happened."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from crimson_node.outcome import CommandFailed
from crimson_protocol.crypto.verify import DualPublic
from crimson_protocol.evidence.format import Measure

Progress = Callable[[str], None]


class RoundLost(CommandFailed):
    """No attempt of a round released anything; `code` is why."""

    def __init__(self, model: str, code: str) -> None:
        hint = (
            "with fewer drops or more sites a quorum remains; --dry-run prints how many drops are tolerated"
        )
        super().__init__(f"a round of {model} ended without a release: {code}", hint, code)


@dataclass
class Traffic:
    """Bytes that the relay carried."""

    control_up: int = 0
    vectors_up: int = 0
    down: int = 0


@dataclass(frozen=True)
class Drop:
    """A node that was killed in mid-round, and after which phase."""

    round: int
    node: str
    phase: str


@dataclass(frozen=True)
class RunFacts:
    """What a finished run left behind, to be verified. `release` is the last Release, `leaves` the log that the
    relay gives out. `sum_matches_plain` is None where nobody compared."""

    isolated: bool
    measures: tuple[Measure, ...]
    receipt_key: DualPublic
    receipts: tuple[bytes, ...] = field(repr=False)
    leaves: tuple[bytes, ...] = field(repr=False)
    release: bytes = field(repr=False)
    dropped: tuple[Drop, ...]
    refused: tuple[str, ...]
    traffic: Traffic
    sum_matches_plain: bool | None


class Engine(Protocol):
    """Runs between `__enter__` and `__exit__`; whatever it started is gone after that."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def run_round(self, model: str, drops: Mapping[int, str] | None = None) -> bytes:
        """One round of `model`: the artifact that finished nodes opened. Raises RoundLost.

        `drops` names nodes that die after "share" or "submit".
        """

    def facts(self) -> RunFacts:
        """What happened so far."""


def plan_drops(nodes: int, share: float, seed: int, round_: int) -> dict[int, str]:
    """Which nodes die in a round: a share of them, half after Share and half after Submit."""
    count = round(nodes * share)
    chosen = random.Random(f"{seed}/{round_}").sample(range(nodes), count)  # noqa: S311 simulated faults
    return {index: "share" if place < count / 2 else "submit" for place, index in enumerate(chosen)}
