"""What releases cost: epsilon of composed Gaussian events, by privacy loss distributions (dp-accounting).

Adjacency is add or remove one unit. Sampling means Poisson sampling that nobody outside sees; where everybody takes
part its probability is 1, and n releases with multipliers z_i are one with 1 / sqrt(sum 1 / z_i^2), exactly: those
alone have a closed form.
Every step rounds towards more epsilon: the grid (connect the dots: Doroshenko et al. 2022), what the convolution's
own rounding may hide, and the thousandths that a record holds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil, expm1, floor, inf, log1p, log2, sqrt
from typing import Final

import numpy as np
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, get_epsilon_gaussian
from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution, from_gaussian_mechanism
from dp_accounting.rdp import RdpAccountant

from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal

MICRO: Final = 1_000_000
LEAST_MULTIPLIER_MICRO: Final = 50_000
"""Below a twentieth one release costs an epsilon of hundreds: reported as unbounded, and never computed."""
MAX_MULTIPLIER_MICRO: Final = 1 << 50
MAX_RELEASES: Final = 1 << 20
UNBOUNDED: Final = 10**9
"""Thousandths that stand for no guarantee at all."""

# Privacy loss per grid step. What the grid adds to epsilon grows like n step^2 (measured: below 1.4 n step^2 for the
# settings in the tests), so few releases need no fine one. How many steps a composed distribution may have: a wider
# one gets longer steps, which costs accuracy only where epsilon is in the hundreds.
_FINEST, _COARSEST = 1e-4, 1.6e-3
_GRID_ERROR: Final = 2e-4
_STEPS: Final = 1 << 21
# Bound on what rounding in the fast Fourier transform takes off a delta, per convolved release. Against the closed
# form it was below half of that for 10 to 2^20 releases; without it a delta of 1e-12 gave epsilons below the truth.
_ROUNDOFF: Final = 2.0**-52
# Releases that one convolution of unlike distributions counts for in that bound.
_UNLIKE: Final = 16
# Whole orders only: fractional ones are slow and may not converge.
_ORDERS: Final = tuple(range(2, 257))

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
    return _epsilon(tuple(sorted((event, count) for event, count in events.items() if count)), delta)


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


@lru_cache(maxsize=256)
def _epsilon(counted: Counted, delta: float) -> float:
    if not counted:
        return 0.0
    if any(event.multiplier_micro < LEAST_MULTIPLIER_MICRO for event, _ in counted):
        return inf
    if all(event.full for event, _ in counted):
        # The closed form (Balle and Wang 2018, theorem 8); its error is below 1e-12 of either kind.
        with np.errstate(divide="ignore"):
            closed = float(get_epsilon_gaussian(1 / sqrt(_information(counted)), delta))
        return closed * (1 + 1e-9) + 1e-9
    convolved = sum(count + _UNLIKE for event, count in counted if not event.full)
    hidden = convolved * _ROUNDOFF
    if delta <= 4 * hidden:
        return _by_moments(counted, delta)
    return float(_composed(counted).get_epsilon_for_delta(delta - hidden))


def _composed(counted: Counted) -> PrivacyLossDistribution:
    """The privacy loss of all events together."""
    step = _grid_step(counted)
    information = _information(counted)
    parts = [_single(1 / sqrt(information), 1.0, step)] if information else []
    parts += [
        _single(event.multiplier, event.sampling, step).self_compose(count)
        for event, count in counted
        if not event.full
    ]
    total, *others = parts
    for other in others:
        total = total.compose(other)
    return total


def _information(counted: Counted) -> float:
    """Sum of 1 / z^2 over the events with everybody: mu^2 of Gaussian differential privacy."""
    return sum(count / event.multiplier**2 for event, count in counted if event.full)


@lru_cache(maxsize=16)
def _single(multiplier: float, sampling: float, step: float) -> PrivacyLossDistribution:
    """The privacy loss of one release: the slow part, and the same from round to round."""
    return from_gaussian_mechanism(
        multiplier, sampling_prob=sampling, value_discretization_interval=step, use_connect_dots=True
    )


def _grid_step(counted: Counted) -> float:
    """_FINEST times a power of two, so that the grid adds about _GRID_ERROR at most, and that a composed distribution
    has about _STEPS steps at most.

    Its width is estimated as mean + 16 deviations + one event's own width. The mean is at most n / (2 z^2) and, by
    the chi-square divergence of a sampled Gaussian, n log(1 + q^2 (exp(1 / z^2) - 1)).
    """
    mean = sum(count * _mean_loss(event) for event, count in counted)
    least = min(event.multiplier for event, _ in counted)
    width = mean + 16 * sqrt(2 * mean) + 0.5 / least**2 + 10 / least
    sampled = sum(count for event, count in counted if not event.full)
    allowed = min(_COARSEST, sqrt(_GRID_ERROR / max(1, sampled)))
    finer = max(0, floor(log2(allowed / _FINEST)))
    return _FINEST * float(2 ** max(finer, ceil(log2(width / _FINEST / _STEPS))))


def _mean_loss(event: Event) -> float:
    inverse = 1 / event.multiplier**2
    sampled = log1p(event.sampling**2 * expm1(inverse)) if inverse < 700 else inf
    return min(inverse / 2, sampled)


def _by_moments(counted: Counted, delta: float) -> float:
    """Renyi differential privacy instead, for a delta that the convolution's rounding would hide: looser, and sure."""
    accountant = RdpAccountant(_ORDERS)
    for event, count in counted:
        release = GaussianDpEvent(event.multiplier)
        accountant.compose(PoissonSampledDpEvent(event.sampling, release), count)
    return float(accountant.get_epsilon(delta))
