"""What releases cost: epsilon of composed Gaussian events, and what a budget affords.

Adjacency is add or remove one unit. Sampling means Poisson sampling that nobody outside sees; where everybody takes
part its probability is 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Final

from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal

MICRO: Final = 1_000_000
LEAST_MULTIPLIER_MICRO: Final = 50_000
"""Below a twentieth one release costs an epsilon of hundreds: reported as unbounded, and never computed."""
MAX_MULTIPLIER_MICRO: Final = 1 << 50
MAX_RELEASES: Final = 1 << 20
UNBOUNDED: Final = 10**9
"""Thousandths that stand for no guarantee at all."""

Counted = tuple[tuple["Event", int], ...]


@dataclass(frozen=True, order=True)
class Event:
    """One release of a sum with Gaussian noise, in integers: noise multiplier, which is the noise's deviation over
    the L2 sensitivity, in millionths rounded down; sampling probability, in millionths rounded up."""

    multiplier_micro: int
    sampling_micro: int

    def __post_init__(self) -> None:
        if not 0 <= self.multiplier_micro <= MAX_MULTIPLIER_MICRO:
            raise CallerFault(Refusal.OUT_OF_RANGE, "a noise multiplier must lie in [0, 2^50] millionths")
        if not 0 < self.sampling_micro <= MICRO:
            raise CallerFault(Refusal.OUT_OF_RANGE, "a sampling probability must lie in (0, 1]")

    @property
    def multiplier(self) -> float:
        """z."""
        return self.multiplier_micro / MICRO

    @property
    def sampling(self) -> float:
        """q."""
        return self.sampling_micro / MICRO

    @property
    def full(self) -> bool:
        """Whether everybody takes part."""
        return self.sampling_micro == MICRO


def epsilon(events: Mapping[Event, int], delta: float) -> float:
    """The smallest epsilon known for these events, each counted, at `delta`; inf where there is none worth knowing.

    Never below the true value. Raises CallerFault OUT_OF_RANGE.
    """
    if not 0 < delta < 1 or any(count < 0 for count in events.values()):
        raise CallerFault(Refusal.OUT_OF_RANGE, "delta lies in (0, 1), and events are counted from 0")
    # Loaded by the first question: most commands that could ask never do.
    from crimson_enclave.privacy.composition import composed_epsilon  # noqa: PLC0415

    return composed_epsilon(tuple(sorted((event, count) for event, count in events.items() if count)), delta)


def thousandths_up(value: float) -> int:
    """An epsilon in thousandths, rounded up exactly; UNBOUNDED from there on."""
    return UNBOUNDED if value >= UNBOUNDED / 1000 else ceil(Fraction(value) * 1000)


def epsilon_thousandths(events: Mapping[Event, int], delta_exponent: int) -> int:
    """`epsilon` at delta = 10^-delta_exponent, as records and policies hold it."""
    return thousandths_up(epsilon(events, 10.0**-delta_exponent))


def releases_afforded(event: Event, budget_thousandths: int, delta: float) -> int:
    """The largest number of such releases, at most MAX_RELEASES, that costs no more than the budget."""

    def afforded(count: int) -> bool:
        return thousandths_up(epsilon({event: count}, delta)) <= budget_thousandths

    if not afforded(1):
        return 0
    low = 1
    while low < MAX_RELEASES and afforded(2 * low):
        low *= 2
    return low if low >= MAX_RELEASES else _last(afforded, low, 2 * low)


def multiplier_for(budget_thousandths: int, delta: float, sampling_micro: int, releases: int) -> int:
    """A noise multiplier, in millionths, with which so many releases stay within the budget: at most 2^-10 of itself
    above the smallest one.

    Takes seconds: it is asked when a policy is written. Raises CallerFault OUT_OF_RANGE where none does.
    """

    def spent(multiplier_micro: int) -> bool:
        events = {Event(multiplier_micro, sampling_micro): releases}
        return thousandths_up(epsilon(events, delta)) > budget_thousandths

    low = MICRO
    while not spent(low):
        low //= 2
        if low < LEAST_MULTIPLIER_MICRO:
            low = LEAST_MULTIPLIER_MICRO - 1
    high = low + 1 if low < LEAST_MULTIPLIER_MICRO else 2 * low
    while spent(high):
        low, high = high, 2 * high
        if high > MAX_MULTIPLIER_MICRO:
            raise CallerFault(Refusal.OUT_OF_RANGE, "no noise keeps so many releases within this budget")
    # Each look costs a convolution, and a thousandth of noise is worth no more of them.
    return _last(spent, low, high, low >> 10) + 1


def _last(holds: Callable[[int], bool], low: int, high: int, slack: int = 0) -> int:
    """The last place before `high` where a condition holds that holds at `low`, fails at `high`, and turns once; or
    one up to `slack` beyond it, just before a place where the condition fails."""
    while high - low > 1 + slack:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return high - 1
