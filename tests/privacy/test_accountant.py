"""Epsilon against published values, the closed form of the Gaussian mechanism, and Renyi differential privacy."""

from math import exp, inf, sqrt

import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
from dp_accounting.rdp import RdpAccountant
from scipy.optimize import brentq
from scipy.special import log_ndtr
from scipy.stats import norm

from crimson_enclave.privacy import composition
from crimson_enclave.privacy.accountant import (
    LEAST_MULTIPLIER_MICRO,
    MAX_RELEASES,
    MICRO,
    UNBOUNDED,
    Event,
    epsilon,
    epsilon_thousandths,
    multiplier_for,
    releases_afforded,
    thousandths_up,
)
from crimson_protocol.errors import CallerFault

# Sampling, multiplier, releases, delta, epsilon by Renyi and by privacy loss distributions: published runs.
SAMPLED = [
    (0.01, 1, 1000, 1e-5, 2.1014, 1.8282),
    (0.01, 4, 10000, 1e-5, 1.0355, 0.9470),
    (256 / 60000, 1.1, 14062, 1e-5, 2.5966, 2.3817),
    (0.1, 1, 100, 1e-5, 7.9039, 7.0466),
    (0.05, 2, 500, 1e-5, 2.7686, 2.5320),
    (0.02, 0.8, 400, 1e-5, 4.9352, 4.2485),
]
# Multiplier, releases, delta, exact epsilon, everybody taking part.
FULL = [
    (1, 1, 1e-5, 4.3772),
    (1, 10, 1e-5, 17.857),
    (5, 50, 1e-5, 6.5730),
    (10, 50, 1e-5, 2.9432),
    (20, 100, 1e-5, 1.9931),
    (5, 20, 1e-3, 2.7354),
    (2, 20, 1e-2, 7.0246),
]


def event(multiplier: float, sampling: float = 1.0) -> Event:
    """Rounded as charges are: the multiplier down, the sampling up."""
    return Event(int(multiplier * MICRO), min(MICRO, int(-(-sampling * MICRO // 1))))


def exact(mu: float, delta: float) -> float:
    """Epsilon of mu-GDP: delta = Phi(mu/2 - e/mu) - exp(e) Phi(-mu/2 - e/mu) (Balle and Wang 2018, theorem 5)."""

    def excess(value: float) -> float:
        return float(norm.cdf(mu / 2 - value / mu) - exp(value + log_ndtr(-mu / 2 - value / mu)) - delta)

    return float(brentq(excess, 0, 200, xtol=1e-13))


def renyi(multiplier: float, sampling: float, count: int, delta: float) -> float:
    accounts = RdpAccountant()
    accounts.compose(PoissonSampledDpEvent(sampling, GaussianDpEvent(multiplier)), count)
    return float(accounts.get_epsilon(delta))


@pytest.mark.parametrize(("sampling", "multiplier", "count", "delta", "loose", "tight"), SAMPLED)
def test_sampled_events_cost_what_is_published(sampling, multiplier, count, delta, loose, tight):
    found = epsilon({event(multiplier, sampling): count}, delta)
    # Four published decimals; the sampling probability is rounded up to a millionth.
    assert tight - 5e-5 <= found <= tight + 1e-3
    assert renyi(multiplier, sampling, count, delta) == pytest.approx(loose, abs=1e-4)
    assert found < loose


def test_a_published_delta_belongs_to_ten_thousand_releases():
    """4.2435e-06 at epsilon 1 for sampling .01 and multiplier 4, printed elsewhere beside 1,000 releases."""
    sampled = event(4, 0.01)
    assert epsilon({sampled: 10_000}, 4.253e-6) == pytest.approx(1, abs=1e-4)
    assert epsilon({sampled: 10_000}, 4.2435e-6) == pytest.approx(1, abs=1e-3)
    assert epsilon({sampled: 1_000}, 4.2435e-6) < 0.3


@pytest.mark.parametrize(("multiplier", "count", "delta", "published"), FULL)
def test_full_participation_is_the_closed_form_and_never_below(multiplier, count, delta, published):
    truth = exact(sqrt(count) / multiplier, delta)
    assert truth == pytest.approx(published, abs=6e-4)
    found = epsilon({event(multiplier): count}, delta)
    assert truth <= found <= truth + 1e-6


@pytest.mark.parametrize(("multiplier", "count", "delta", "published"), FULL)
def test_one_privacy_loss_distribution_agrees_with_the_closed_form(multiplier, count, delta, published):
    """The path that unlike events take, for a single release of the same cost."""
    composed = composition._composed(((event(multiplier), count),))
    truth = exact(sqrt(count) / multiplier, delta)
    assert truth <= composed.get_epsilon_for_delta(delta) <= truth + 1e-4


@pytest.mark.parametrize("exponent", [2, 5, 8, 10, 12])
@pytest.mark.parametrize(("multiplier", "count"), [(5, 200), (30, 10_000), (300, 100_000), (1000, 1 << 20)])
def test_convolution_never_hides_epsilon(monkeypatch, exponent, multiplier, count):
    """The path of sampled events, taken with everybody: what its rounding hides is allowed for."""
    monkeypatch.setattr(Event, "full", False)
    # Asked without its cache, which must not keep what another path found.
    found = composition.composed_epsilon.__wrapped__(((event(multiplier), count),), 10.0**-exponent)
    truth = exact(sqrt(count) / multiplier, 10.0**-exponent)
    # Where the convolution cannot show so small a delta, Renyi differential privacy gives a looser value.
    assert truth <= found <= 1.3 * truth + 0.1
    if count * 2.0**-52 < 0.01 * 10.0**-exponent:
        assert found <= truth + 0.01


def test_unlike_events_compose():
    """Full participation composes as mu^2; with sampled events the whole lies between its parts and their sum."""
    both = {event(5): 25, event(10): 100}
    assert epsilon(both, 1e-5) == pytest.approx(exact(sqrt(25 / 25 + 100 / 100), 1e-5), abs=1e-6)
    sampled, full = {event(1, 0.1): 100}, {event(5): 50}
    together = epsilon(sampled | full, 1e-5)
    assert max(epsilon(sampled, 1e-5), epsilon(full, 1e-5)) < together
    assert together < epsilon(sampled, 5e-6) + epsilon(full, 5e-6)
    halves = {event(1, 0.1): 50, Event(MICRO + 1, 100_000): 50}
    assert epsilon(halves, 1e-5) == pytest.approx(epsilon(sampled, 1e-5), abs=1e-3)


def test_nothing_costs_nothing_and_more_costs_more():
    sampled = event(1.5, 0.1)
    costs = [epsilon({sampled: count}, 1e-5) for count in (0, 1, 2, 10, 100)]
    assert costs[0] == 0 == epsilon({}, 1e-5)
    assert costs == sorted(set(costs))
    assert epsilon({event(1.6, 0.1): 10}, 1e-5) < costs[3] < epsilon({event(1.5, 0.11): 10}, 1e-5)


def test_noise_too_small_to_count_is_unbounded_and_answered_at_once():
    assert epsilon({event(0.0): 1}, 1e-5) == inf
    assert epsilon({Event(LEAST_MULTIPLIER_MICRO - 1, 1): 1}, 1e-2) == inf
    assert epsilon_thousandths({event(0.0): 1}, 5) == UNBOUNDED
    assert 100 < epsilon({event(0.3, 0.5): MAX_RELEASES}, 1e-5) < inf


def test_epsilons_are_rounded_up():
    assert [thousandths_up(value) for value in (0.0, 1e-12, 0.5, 1.0, 1.0000001)] == [0, 1, 500, 1000, 1001]
    assert thousandths_up(inf) == thousandths_up(1e300) == UNBOUNDED


@pytest.mark.parametrize(
    ("spent", "budget", "delta"), [(event(1.882, 0.1), 4000, 1e-5), (event(5), 6574, 1e-5)]
)
def test_the_last_release_that_a_budget_affords(spent, budget, delta):
    found = releases_afforded(spent, budget, delta)
    assert epsilon({spent: found}, delta) * 1000 <= budget < epsilon({spent: found + 1}, delta) * 1000
    if spent.full:
        # exact() gives 6.5730 for 50 releases and more than 6.574 for 51.
        assert found == 50


def test_budgets_that_afford_nothing_or_everything():
    assert releases_afforded(event(0.5), 1000, 1e-5) == 0
    assert releases_afforded(Event(10**9, 1), 100, 1e-5) == MAX_RELEASES


@pytest.mark.parametrize(
    ("budget", "count", "published"),
    [(1000, 10, 8.14), (4000, 10, 2.60), (8000, 10, 1.52), (16000, 10, 0.91), (8000, 50, 3.39)],
)
def test_the_least_noise_for_a_budget_with_everybody(budget, count, published):
    found = multiplier_for(budget, 1e-3, MICRO, count)
    assert found / MICRO == pytest.approx(published, abs=0.005, rel=2**-9)
    assert exact(sqrt(count) * MICRO / found, 1e-3) * 1000 <= budget
    assert exact(sqrt(count) * MICRO / (found * (1 - 2**-9)), 1e-3) * 1000 > budget


def test_the_least_noise_for_a_budget_with_sampling():
    """Below 3.237, which Renyi differential privacy asks for at epsilon 2: that multiplier costs less here."""
    found = multiplier_for(2000, 1e-5, 100_000, 200)
    assert renyi(3.237, 0.1, 200, 1e-5) == pytest.approx(2, abs=2e-3)
    assert 2.9 < found / MICRO < 3.237
    at, below = ({Event(found - step, 100_000): 200} for step in (0, found >> 9))
    assert epsilon_thousandths(at, 5) <= 2000 < epsilon_thousandths(below, 5)


def test_no_noise_is_enough_for_a_budget_of_nothing():
    with pytest.raises(CallerFault):
        multiplier_for(0, 1e-12, MICRO, MAX_RELEASES)


@pytest.mark.parametrize(("multiplier", "sampling"), [(-1, 1), (1, 0), (1, MICRO + 1), ((1 << 50) + 1, 1)])
def test_events_outside_their_range_are_refused(multiplier, sampling):
    with pytest.raises(CallerFault):
        Event(multiplier, sampling)


@pytest.mark.parametrize(("count", "delta"), [(-1, 1e-5), (1, 0.0), (1, 1.0)])
def test_questions_that_make_no_sense_are_refused(count, delta):
    with pytest.raises(CallerFault):
        epsilon({event(1): count}, delta)
