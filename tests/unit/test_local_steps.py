"""Local steps against the closed forms of FedAvg, FedProx and FedNova, and against torch's optimiser."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from crimson_node.data.rows import SurvivalRows
from crimson_node.learning import cox
from crimson_node.learning.local_steps import LocalPlan, normalisation, train
from crimson_protocol.errors import CallerFault

# Three sites with F_i(x) = a_i / 2 (x - c_i)²; closed forms below in the sources named in the module.
CURVATURE, CENTRE, SHARE, STEPS = (1.0, 2.0, 0.5), (1.0, -1.0, 4.0), np.array([0.5, 0.3, 0.2]), (1, 5, 10)


def no_entropy(count: int) -> bytes:
    raise AssertionError("full-batch steps draw nothing")


def moved(site: int, start: float, plan: LocalPlan):
    def slope(point, places):
        return CURVATURE[site] * (point - CENTRE[site])

    return train(np.array([start]), slope, 7, plan, no_entropy)


def plans(**settings_) -> list[LocalPlan]:
    return [LocalPlan(steps, 0.1, **settings_) for steps in STEPS]


def fedavg(start: float, several: list[LocalPlan]) -> float:
    changes = [moved(site, start, plan).change[0] for site, plan in enumerate(several)]
    return start + float(SHARE @ changes)


def fednova(start: float, several: list[LocalPlan]) -> float:
    ends = [moved(site, start, plan) for site, plan in enumerate(several)]
    lengths = np.array([end.normalisation for end in ends])
    return start + float(SHARE @ lengths) * float(SHARE @ [end.change[0] / end.normalisation for end in ends])


def fixed_point(rule, several) -> float:
    point = 0.0
    for _ in range(150):
        point = rule(point, several)
    return point


def test_local_ends() -> None:
    ends = [moved(site, 0.0, plan).change[0] for site, plan in enumerate(plans())]
    assert ends == pytest.approx([0.1, -0.67232, 1.60505224], abs=1e-8)


def test_fedavg_and_its_fixed_point() -> None:
    assert fedavg(0.0, plans()) == pytest.approx(0.1693144486, abs=1e-9)
    assert fixed_point(fedavg, plans()) == pytest.approx(0.5100622277, abs=1e-9)


def test_fednova_and_its_fixed_point() -> None:
    assert fednova(0.0, plans()) == pytest.approx(0.1670473794, abs=1e-9)
    assert fixed_point(fednova, plans()) == pytest.approx(0.4245623302, abs=1e-9)


def test_fedprox_with_exact_local_solves() -> None:
    several = [LocalPlan(60, 0.4, proximal=1.0)] * 3
    assert fedavg(0.0, several) == pytest.approx(0.3166666667, abs=1e-9)
    assert fixed_point(fedavg, several) == pytest.approx(0.6129032258, abs=1e-9)


def test_equal_lengths_make_fednova_fedavg() -> None:
    for chosen in (LocalPlan(6, 0.1), LocalPlan(6, 0.1, momentum=0.9), LocalPlan(6, 0.1, proximal=1.0)):
        assert fednova(0.3, [chosen] * 3) == pytest.approx(fedavg(0.3, [chosen] * 3), abs=1e-15)


def test_lengths_with_momentum_and_proximal_term() -> None:
    with_momentum = [normalisation(LocalPlan(1, 0.1, momentum=0.9), steps) for steps in STEPS]
    assert with_momentum == pytest.approx([1, 13.1441, 41.381059609], abs=1e-9)
    with_proximal = [normalisation(LocalPlan(1, 0.1, proximal=1.0), steps) for steps in STEPS]
    assert with_proximal == pytest.approx([1, 4.0951, 6.513215599], abs=1e-9)
    assert [normalisation(LocalPlan(1, 0.1), steps) for steps in (0, *STEPS)] == [0, 1, 5, 10]


@settings(deadline=None)
@given(st.integers(1, 12), st.floats(0, 0.99), st.floats(0, 30.0))
def test_the_length_is_the_sum_of_what_single_slopes_move(steps, momentum, proximal) -> None:
    """Also where weights change their sign, as they do with a large proximal term."""
    plan = LocalPlan(steps, 0.1, momentum=momentum, proximal=proximal)
    weights = []
    for impulse in np.eye(steps):
        slopes = iter(impulse)
        end = train(np.zeros(1), lambda _, __, left=slopes: np.array([next(left)]), 3, plan, no_entropy)
        weights.append(-end.change[0] / 0.1)
    assert normalisation(plan, steps) == pytest.approx(np.abs(weights).sum(), rel=1e-9)


@pytest.mark.parametrize(("momentum", "proximal"), [(0.0, 0.0), (0.9, 0.0), (0.0, 0.7), (0.5, 0.3)])
def test_steps_equal_those_of_torch(momentum, proximal) -> None:
    random = np.random.default_rng(5)
    matrix, target, start = random.normal(size=(9, 4)), random.normal(size=9), random.normal(size=4)
    point = torch.tensor(start, requires_grad=True)
    optimiser = torch.optim.SGD([point], lr=0.02, momentum=momentum)
    for _ in range(11):
        optimiser.zero_grad()
        error = torch.from_numpy(matrix) @ point - torch.from_numpy(target)
        (
            error.square().sum() / 2 + proximal / 2 * (point - torch.from_numpy(start)).square().sum()
        ).backward()
        optimiser.step()

    def slope(at, places):
        return matrix[places].T @ (matrix[places] @ at - target[places])

    plan = LocalPlan(11, 0.02, momentum=momentum, proximal=proximal)
    end = start + train(start, slope, 9, plan, no_entropy).change
    assert np.abs(end - point.detach().numpy()).max() < 1e-12


def test_a_pass_takes_every_row_once_in_a_drawn_order() -> None:
    taken: list[np.ndarray] = []

    def slope(point, places):
        taken.append(places)
        return np.zeros(2)

    random = np.random.default_rng(1)
    end = train(np.zeros(2), slope, 10, LocalPlan(3, 0.1, batch=4), random.bytes)
    assert [len(places) for places in taken] == [4, 4, 2] * 3
    orders = [np.concatenate(taken[3 * number : 3 * number + 3]).tolist() for number in range(3)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert end.normalisation == 9


def test_every_row_is_as_likely_to_come_first() -> None:
    random, first, plan = np.random.default_rng(2), np.zeros(5), LocalPlan(1, 0.1, 1)
    seen: list[int] = []

    def slope(point, places):
        seen.extend(places)
        return np.zeros(1)

    for _ in range(2000):
        seen.clear()
        train(np.zeros(1), slope, 5, plan, random.bytes)
        first[seen[0]] += 1
    # Chi-square with 4 degrees of freedom: 23.5 is exceeded once in 10,000.
    assert (np.square(first - 400) / 400).sum() < 23.5


def test_a_site_without_rows_does_not_move() -> None:
    for plan in (LocalPlan(5, 0.1), LocalPlan(5, 0.1, batch=3)):
        end = train(np.ones(2), lambda _, __: np.ones(2), 0, plan, no_entropy)
        assert (end.change.tolist(), end.normalisation) == ([0.0, 0.0], 0.0)


def test_steps_that_diverge_are_refused() -> None:
    with pytest.raises(CallerFault, match="diverged"):
        train(np.ones(1), lambda point, _: point * 1e3, 3, LocalPlan(400, 1.0), no_entropy)


@pytest.mark.parametrize(
    "fields",
    [
        (0, 0.1),
        (1, 0.0),
        (1, float("nan")),
        (1, 0.1, -1),
        (1, 0.1, 0, -1.0),
        (1, 0.1, 0, float("inf")),
        (1, 0.1, 0, 0.0, 1.0),
        (1, 0.1, 0, 0.0, -0.1),
    ],
)
def test_a_plan_that_cannot_run_is_refused(fields) -> None:
    with pytest.raises(CallerFault):
        LocalPlan(*fields)


def stratified_loss(theta, sites) -> float:
    """Negative log partial likelihood, Breslow ties, every event's risk set written out within its site."""
    total = 0.0
    for rows in sites:
        for place in np.flatnonzero(rows.event):
            at_risk = rows.time >= rows.time[place]
            total -= rows.features[place] @ theta - np.log(np.exp(rows.features[at_risk] @ theta).sum())
    return total


def test_one_cox_step_a_round_converges_to_the_central_stratified_fit() -> None:
    random, sites = np.random.default_rng(8), []
    for height in (15, 40, 25):
        features, event = random.normal(size=(height, 3)), random.random(height) < 0.6
        time = np.ceil(-np.log(random.random(height)) / np.exp(features @ [0.8, -0.5, 0.0]) * height)
        sites.append(SurvivalRows(features, time, event, np.ones(height, dtype=bool)))
    events = [rows.event.sum() for rows in sites]
    federated = np.zeros(3)
    for _ in range(400):
        ends = []
        for rows in sites:
            at = cox.slopes(rows)
            ends.append(
                train(federated, lambda point, _, at=at: at(point), len(rows), LocalPlan(1, 0.3), no_entropy)
            )
        federated = federated + np.average([end.change for end in ends], axis=0, weights=events)
    central = minimize(
        stratified_loss, np.zeros(3), (sites,), "Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13}
    )
    assert np.abs(federated - central.x).max() < 1e-6
    assert np.abs(federated).max() > 0.3
