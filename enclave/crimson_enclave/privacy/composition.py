"""Epsilon of composed events by privacy loss distributions (dp-accounting), or in closed form.

Releases that everybody takes part in, with multipliers z_i, are one with 1 / sqrt(sum 1 / z_i^2), exactly: those alone
have a closed form. Every step rounds towards more epsilon: the grid (connect the dots: Doroshenko et al. 2022), and
what the convolution's own rounding may hide.

Its libraries take a second to load, so the accountant loads this module with its first question. The enclave loads it
before its sandbox closes: afterwards no code can be.
"""

from functools import lru_cache
from math import ceil, expm1, floor, inf, log1p, log2, sqrt
from typing import Final

import numpy as np
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, get_epsilon_gaussian
from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution, from_gaussian_mechanism
from dp_accounting.rdp import RdpAccountant

from crimson_enclave.privacy.accountant import LEAST_MULTIPLIER_MICRO, Counted, Event

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


@lru_cache(maxsize=256)
def composed_epsilon(counted: Counted, delta: float) -> float:
    """The smallest epsilon known for these events at `delta`; inf where there is none worth knowing."""
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
