"""What `crimson train` was asked for, checked for itself before any file is read."""

from dataclasses import dataclass
from math import isfinite, log10
from pathlib import Path

from crimson_node.outcome import BAD_INPUT, CommandFailed
from crimson_protocol.policy.document import STRATEGIES

TRAINED = tuple(name for name in STRATEGIES if name != "sum")
COMPARED = ("trimmed-mean", "median", "geometric-median", "krum", "multi-krum", "centered-clipping")
CHOICES = TRAINED + COMPARED
ENGINES = ("processes", "inline")


class BadOption(CommandFailed):
    """An option's value cannot be used; `hint` says what can."""

    exit_code = BAD_INPUT
    code = "bad-option"


@dataclass(frozen=True)
class TrainOptions:
    """Options of a survival run, by their names on the command line."""

    data: Path
    time_column: str
    event_column: str
    out: Path
    site_column: str | None = None
    split_column: str | None = None
    features: tuple[str, ...] | None = None
    nodes: int | None = None
    rounds: int = 20
    strategy: str = "fedavg"
    local_steps: int = 5
    learning_rate: float = 0.1
    l2: float = 0.01
    weights: str = "rows"
    bucket_size: int | None = None
    sketch: int | None = None
    dp: str | None = None
    epsilon: float = 8.0
    delta: float = 1e-5
    drop: float = 0.0
    seed: int = 0
    engine: str = "processes"

    def __post_init__(self) -> None:
        checks = {
            "--strategy": (
                self.strategy in TRAINED or self.strategy in COMPARED,
                "give one of " + ", ".join(CHOICES),
            ),
            "--dp": (self.dp in (None, "record", "node"), "give record or node"),
            "--sketch": (self.sketch is None or self.sketch >= 1, "give 1 or more"),
            "--rounds": (self.rounds >= 1, "give 1 or more"),
            "--local-steps": (self.local_steps >= 1, "give 1 or more"),
            "--learning-rate": (
                isfinite(self.learning_rate) and 0 < self.learning_rate <= 1000,
                "give a number above 0",
            ),
            "--l2": (isfinite(self.l2) and 0 <= self.l2 <= 1000, "give 0 or more"),
            "--weights": (self.weights in ("rows", "equal"), "give rows or equal"),
            "--drop": (0 <= self.drop < 1, "give a share from 0 up to, but not including, 1"),
            "--engine": (self.engine in ENGINES, "give " + " or ".join(ENGINES)),
            "--seed": (self.seed >= 0, "give 0 or more"),
            "--epsilon": (
                isfinite(self.epsilon) and 0 < self.epsilon <= 100,
                "give a number above 0, at most 100",
            ),
            "--delta": (0 < self.delta < 1, "give a number between 0 and 1, like 1e-5"),
            "--bucket-size": (self.bucket_size is None or self.bucket_size >= 1, "give 1 or more"),
            "--nodes": (
                self.nodes is None or self.nodes >= 3,
                "give 3 or more: with two, each learns the other's update",
            ),
            "--site-column": (
                bool(self.site_column) != bool(self.nodes),
                "give either --site-column or --nodes",
            ),
        }
        for name, (holds, hint) in checks.items():
            if not holds:
                raise BadOption(f"{name} cannot be used as given", hint)

    @property
    def delta_exponent(self) -> int:
        """delta as a power of ten, rounded towards the smaller delta."""
        return -int(log10(self.delta) // 1)
