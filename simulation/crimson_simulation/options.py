"""What `crimson train` was asked for, checked for itself before any file is read."""

from dataclasses import dataclass
from math import floor, isfinite, log10
from pathlib import Path

from crimson_node.outcome import BAD_INPUT, CommandFailed
from crimson_protocol.policy.document import STRATEGIES

TRAINED = tuple(name for name in STRATEGIES if name != "sum")
COMPARED = ("trimmed-mean", "median", "geometric-median", "krum", "multi-krum", "centered-clipping")
CHOICES = TRAINED + COMPARED
MODELS = ("survival", "hazard")
ENGINES = ("processes", "inline")
ROUNDS, RECORD_ROUNDS = 20, 200
MOST, MOST_BINS, WIDEST = 1000, 256, 4096
Checks = dict[str, tuple[bool, str]]


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
    model: str = "survival"
    site_column: str | None = None
    split_column: str | None = None
    features: tuple[str, ...] | None = None
    nodes: int | None = None
    rounds: int | None = None
    strategy: str = "fedavg"
    local_steps: int = 5
    learning_rate: float | None = None
    l2: float | None = None
    batch: int = 0
    proximal: float = 0.1
    server_rate: float | None = None
    clip: float | None = None
    bins: int = 12
    hidden: tuple[int, ...] = ()
    mixing: bool = True
    weights: str = "rows"
    bucket_size: int | None = None
    sketch: int | None = None
    dp: str | None = None
    dp_noise: str = "release"
    epsilon: float = 8.0
    delta: float = 1e-5
    attack: str | None = None
    drop: float = 0.0
    seed: int = 0
    engine: str = "processes"

    def __post_init__(self) -> None:
        for name, (holds, hint) in {**self._data(), **self._learning(), **self._protection()}.items():
            if not holds:
                raise BadOption(f"{name} cannot be used as given", hint)

    def _data(self) -> Checks:
        return {
            "--nodes": (
                self.nodes is None or self.nodes >= 3,
                "give 3 or more: with two, each learns the other's update",
            ),
            "--site-column": (
                bool(self.site_column) != bool(self.nodes),
                "give either --site-column or --nodes",
            ),
            "--drop": (0 <= self.drop < 1, "give a share from 0 up to, but not including, 1"),
            "--engine": (self.engine in ENGINES, "give " + " or ".join(ENGINES)),
            "--seed": (self.seed >= 0, "give 0 or more"),
        }

    def _learning(self) -> Checks:
        cox, positive = self.model == "survival", "give a number above 0"
        return {
            "--model": (self.model in MODELS, "give " + " or ".join(MODELS)),
            "--strategy": (self.strategy in CHOICES, "give one of " + ", ".join(CHOICES)),
            "--rounds": (self.rounds is None or self.rounds >= 1, "give 1 or more"),
            "--local-steps": (self.local_steps >= 1, "give 1 or more"),
            "--learning-rate": (_positive(self.learning_rate), positive),
            "--l2": (isfinite(self.penalty) and 0 <= self.penalty <= MOST, "give 0 or more"),
            "--batch": (self.batch >= 0 and not (self.batch and cox), "give 0 or more, and 0 for Cox"),
            "--proximal": (_positive(self.proximal), positive),
            "--server-rate": (_positive(self.server_rate), positive),
            "--bins": (1 <= self.bins <= MOST_BINS, f"give 1 to {MOST_BINS}"),
            "--hidden": (
                all(1 <= width <= WIDEST for width in self.hidden) and not (self.hidden and cox),
                "give widths of hidden layers, like 128,128, for the model hazard",
            ),
            "--weights": (self.weights in ("rows", "equal"), "give rows or equal"),
        }

    def _protection(self) -> Checks:
        return {
            "--dp": (self.dp in (None, "record", "node"), "give record or node"),
            "--dp-noise": (
                self.dp_noise == "release" or (self.dp_noise == "nodes" and self.dp == "record"),
                "give release, or nodes beside --dp record: a site's own noise hides its records",
            ),
            "--epsilon": (
                isfinite(self.epsilon) and 1e-3 <= self.epsilon <= 100,
                "give a number from 0.001 to 100",
            ),
            "--delta": (1e-12 <= self.delta <= 1e-2, "give a number from 1e-12 to 1e-2, like 1e-5"),
            "--clip": (_positive(self.clip), "give a number above 0"),
            "--bucket-size": (self.bucket_size is None or self.bucket_size >= 1, "give 1 or more"),
            "--sketch": (self.sketch is None or self.sketch >= 1, "give 1 or more"),
        }

    @property
    def delta_exponent(self) -> int:
        """delta as a power of ten, rounded towards the smaller delta."""
        return -floor(log10(self.delta) + 1e-9)

    @property
    def steps(self) -> int:
        """Secure aggregations: with record-level noise on the release each is one gradient step."""
        return self.rounds or (RECORD_ROUNDS if self.one_step else ROUNDS)

    @property
    def one_step(self) -> bool:
        """Whether a round is one gradient step over all sites' samples, noised once."""
        return self.dp == "record" and self.dp_noise == "release"

    @property
    def penalty(self) -> float:
        """Ridge penalty. Under record-level privacy noise does what a penalty is for."""
        if self.l2 is not None:
            return self.l2
        return 0.0 if self.dp == "record" else 0.01

    @property
    def robust_rule(self) -> str:
        """The rule over bucket means, where the strategy names one."""
        return self.strategy if self.strategy in COMPARED else "sketch-filter" if self.sketch else "none"

    @property
    def server_strategy(self) -> str:
        """What is done with the aggregated update."""
        return "fedavg" if self.strategy in COMPARED else self.strategy


def _positive(value: float | None) -> bool:
    """Whether a number that may be left out is above 0 and not absurd."""
    return value is None or (isfinite(value) and 0 < value <= MOST)
