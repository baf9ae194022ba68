"""The discrete-time hazard against products made by hand, life tables, autograd and logistic regression."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from crimson_node.data.rows import SurvivalRows
from crimson_node.learning.hazard import HazardModel, bins_at_risk
from crimson_node.learning.local_steps import LocalPlan, train
from crimson_protocol.errors import CallerFault

CUTS = np.array([1.0, 3.0, 6.0])


def rows_of(features, time, event, train_flags=None) -> SurvivalRows:
    time = np.asarray(time, dtype=np.float64)
    flags = np.ones(len(time), dtype=bool) if train_flags is None else np.asarray(train_flags, dtype=bool)
    return SurvivalRows(np.asarray(features, dtype=np.float64), time, np.asarray(event, dtype=bool), flags)


def random_rows(seed: int, height: int, width: int = 3) -> SurvivalRows:
    random = np.random.default_rng(seed)
    return rows_of(
        random.normal(size=(height, width)), random.uniform(0, 8, height), random.random(height) < 0.5
    )


def models() -> list[HazardModel]:
    return [HazardModel(3, CUTS), HazardModel(3, CUTS, (5,)), HazardModel(3, CUTS, (4, 2))]


def somewhere(model: HazardModel, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=model.parameters)


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


def likelihood_by_product(hazards, time, event) -> float:
    """Bin by bin: survive what was survived, and have the event where it was; censored bins count from half on."""
    product, start = 1.0, 0.0
    for hazard, end in zip(hazards, CUTS, strict=True):
        if event and (start < time <= end or (time == 0 and start == 0)):
            return product * hazard
        if time > end or (not event and time >= (start + end) / 2):
            product *= 1 - hazard
        start = end
    return product


@pytest.mark.parametrize("model", models(), ids=["linear", "one layer", "two layers"])
def test_the_loss_is_the_likelihood_multiplied_out(model) -> None:
    rows, theta = random_rows(1, 60), somewhere(model)
    hazards = sigmoid(model.logits(theta, rows.features))
    logs = [np.log(likelihood_by_product(*row)) for row in zip(hazards, rows.time, rows.event, strict=True)]
    assert model.loss(theta, rows) == pytest.approx(-np.mean(logs), abs=1e-12)


def test_linear_logits_by_hand() -> None:
    model = HazardModel(2, CUTS)
    logits = model.logits(np.array([2.0, -1.0, 0.1, 0.2, 0.3]), np.array([[1.0, 1.0], [0.0, 2.0]]))
    # 1 - h = 2^(-1/3), so log(h / (1 - h)) = log(2^(1/3) - 1).
    public = np.log(2 ** (1 / 3) - 1)
    assert np.allclose(logits, np.array([[1.1, 1.2, 1.3], [-1.9, -1.8, -1.7]]) + public, atol=1e-14)


def test_where_a_row_is_at_risk() -> None:
    cases = [
        # time, event, bins at risk, event's bin
        (0.0, True, [1, 0, 0], [1, 0, 0]),
        (1.0, True, [1, 0, 0], [1, 0, 0]),
        (1.1, True, [1, 1, 0], [0, 1, 0]),
        (6.0, True, [1, 1, 1], [0, 0, 1]),
        (6.1, True, [1, 1, 1], [0, 0, 0]),
        (0.0, False, [0, 0, 0], [0, 0, 0]),
        (0.4, False, [0, 0, 0], [0, 0, 0]),
        (1.9, False, [1, 0, 0], [0, 0, 0]),
        (2.0, False, [1, 1, 0], [0, 0, 0]),
        (9.0, False, [1, 1, 1], [0, 0, 0]),
    ]
    times, events, at_risk, died = zip(*cases, strict=True)
    found = bins_at_risk(CUTS, rows_of(np.zeros((len(cases), 1)), times, events))
    assert found[0].tolist() == [list(map(float, row)) for row in at_risk]
    assert found[1].tolist() == [list(map(float, row)) for row in died]


def test_without_features_the_fit_is_the_life_table() -> None:
    rows = random_rows(3, 400)
    rows = rows.with_features(np.zeros((400, 1)))
    at_risk, died = bins_at_risk(CUTS, rows)
    hazard = died.sum(axis=0) / at_risk.sum(axis=0)
    theta = np.concatenate([[0.0], np.log(hazard / (1 - hazard)) - np.log(2 ** (1 / 3) - 1)])
    model = HazardModel(1, CUTS)
    assert np.abs(model.gradient(theta, rows)).max() < 1e-15
    expected = np.concatenate([[1.0], np.cumprod(1 - hazard), [np.prod(1 - hazard)]])
    curve = model.survival(theta, np.zeros((1, 1)), np.array([0.0, 1.0, 3.0, 6.0, 50.0]))
    assert np.allclose(curve[0], expected, atol=1e-14)


def test_the_fit_is_logistic_regression_on_rows_by_bin() -> None:
    rows = random_rows(4, 300)
    at_risk, died = bins_at_risk(CUTS, rows)
    row, bin_ = np.nonzero(at_risk)
    design = np.concatenate([rows.features[row], np.eye(3)[bin_]], axis=1)
    fit = LogisticRegression(C=np.inf, fit_intercept=False, solver="newton-cholesky", tol=1e-12, max_iter=200)
    theta = fit.fit(design, died[row, bin_]).coef_[0]
    theta[3:] -= np.log(2 ** (1 / 3) - 1)
    model = HazardModel(3, CUTS)
    assert np.abs(model.gradient(theta, rows)).max() < 1e-8
    assert np.linalg.norm(model.gradient(np.zeros(6), rows)) > 1e-2


def reference_loss(model: HazardModel, theta: torch.Tensor, rows: SurvivalRows, l2: float) -> torch.Tensor:
    """The same loss from torch's own layers and its own cross-entropy."""
    features = torch.from_numpy(rows.features)
    if model.hidden:
        widths, at, values, penalty = (3, *model.hidden, 3), 0, features, torch.zeros((), dtype=torch.float64)
        for place in range(len(widths) - 1):
            inputs, outputs = widths[place : place + 2]
            weight = theta[at : at + inputs * outputs].view(outputs, inputs)
            bias = theta[at + inputs * outputs : at + (inputs + 1) * outputs]
            at += (inputs + 1) * outputs
            penalty = penalty + weight.square().sum()
            values = torch.nn.functional.linear(values, weight, bias)
            values = values if place == len(widths) - 2 else values.tanh()
        assert at == model.parameters
    else:
        values = (features * theta[:3]).sum(1, keepdim=True) + theta[3:]
        penalty = theta[:3].square().sum()
    values = values + np.log(2 ** (1 / 3) - 1)
    at_risk, died = map(torch.from_numpy, bins_at_risk(CUTS, rows))
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(values, died, at_risk, reduction="sum")
    return entropy / len(rows) + l2 / 2 * penalty


@pytest.mark.parametrize("model", models(), ids=["linear", "one layer", "two layers"])
def test_loss_and_gradient_equal_those_of_torch(model) -> None:
    rows, theta = random_rows(6, 40), somewhere(model)
    point = torch.tensor(theta, requires_grad=True)
    expected = reference_loss(model, point, rows, 0.3)
    expected.backward()
    assert model.loss(theta, rows, 0.3) == pytest.approx(float(expected.detach()), abs=1e-12)
    assert np.abs(model.gradient(theta, rows, 0.3) - point.grad.numpy()).max() < 1e-12


@pytest.mark.parametrize("model", models(), ids=["linear", "one layer", "two layers"])
def test_slopes_of_records_are_those_of_single_rows_and_average_to_the_gradient(model) -> None:
    rows, theta = random_rows(7, 25), somewhere(model)
    each = model.record_gradients(theta, rows, 0.2)
    assert each.shape == (25, model.parameters)
    assert np.abs(each.mean(axis=0) - model.gradient(theta, rows, 0.2)).max() < 1e-13
    for place in range(25):
        alone = model.gradient(theta, rows.where(np.arange(25) == place), 0.2)
        assert np.abs(each[place] - alone).max() < 1e-13


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 20))
def test_a_record_stands_in_no_other_records_slope(seed, height) -> None:
    model, rows = HazardModel(3, CUTS), random_rows(seed, height)
    other = random_rows(seed + 1, 1)
    changed = SurvivalRows.together([rows.where(np.arange(height) > 0), other])
    theta = somewhere(model, seed)
    assert np.allclose(
        model.record_gradients(theta, rows)[1:], model.record_gradients(theta, changed)[:-1], atol=1e-13
    )


@pytest.mark.parametrize("model", models(), ids=["linear", "one layer", "two layers"])
def test_held_out_rows_do_not_enter(model) -> None:
    rows, theta = random_rows(8, 20), somewhere(model)
    mixed = SurvivalRows.together([rows, rows_of(np.full((5, 3), 9.0), [1] * 5, [True] * 5, [False] * 5)])
    assert model.loss(theta, mixed) == model.loss(theta, rows)
    assert np.array_equal(model.gradient(theta, mixed), model.gradient(theta, rows))
    assert model.record_gradients(theta, mixed).shape[0] == 20


def test_one_step_averaged_by_rows_is_the_central_step() -> None:
    model, sites = HazardModel(3, CUTS), [random_rows(seed, 10 + 7 * seed) for seed in range(4)]
    together = SurvivalRows.together(sites)
    federated = central = np.zeros(6)
    plan = LocalPlan(1, 0.4)
    for _ in range(30):
        changes = []
        for rows in sites:

            def slope(point, places, rows=rows):
                return model.gradient(point, rows, 0.01)

            changes.append(train(federated, slope, len(rows), plan, lambda count: b"").change)
        federated = federated + np.average(changes, axis=0, weights=[len(rows) for rows in sites])
        central = central - 0.4 * model.gradient(central, together, 0.01)
    assert np.abs(federated - central).max() < 1e-12


def test_zero_parameters_are_even_odds_by_the_last_cut() -> None:
    for cuts in (CUTS, np.arange(1.0, 13.0), np.array([5.0])):
        model = HazardModel(2, cuts)
        curve = model.survival(model.initial(lambda count: b""), np.ones((1, 2)), np.array([0.0, cuts[-1]]))
        assert curve[0] == pytest.approx([1.0, 0.5], abs=1e-14)


def test_survival_inside_a_bin_falls_at_a_constant_rate() -> None:
    model, theta = models()[1], somewhere(models()[1])
    features = random_rows(9, 4).features
    hazards = sigmoid(model.logits(theta, features))
    curve = model.survival(theta, features, np.array([0.25, 1.0, 2.5, 6.0]))
    assert np.allclose(curve[:, 0], (1 - hazards[:, 0]) ** 0.25, atol=1e-13)
    assert np.allclose(curve[:, 1], 1 - hazards[:, 0], atol=1e-13)
    assert np.allclose(curve[:, 2], (1 - hazards[:, 0]) * (1 - hazards[:, 1]) ** 0.75, atol=1e-13)
    assert np.allclose(curve[:, 3], (1 - hazards).prod(axis=1), atol=1e-13)


def test_risk_is_the_log_cumulative_hazard() -> None:
    for model in models():
        theta, features = somewhere(model), random_rows(10, 30).features
        last = model.survival(theta, features, CUTS[-1:])[:, 0]
        assert np.allclose(model.risk(theta, features), np.log(-np.log(last)), atol=1e-12)


def test_linear_risk_orders_as_the_coefficients_do_and_stays_finite() -> None:
    model, features = HazardModel(1, CUTS), np.linspace(-900, 900, 61)[:, None]
    risk = model.risk(np.array([1.0, 0.0, 1.0, -1.0]), features)
    assert np.isfinite(risk).all() and (np.diff(risk) > 0).all()
    assert np.isfinite(
        model.loss(np.array([1.0, 0.0, 1.0, -1.0]), rows_of(features, [2.0] * 61, [True] * 61))
    )


def test_a_network_starts_from_weights_that_differ_and_can_learn() -> None:
    model, random = HazardModel(3, CUTS, (8,)), np.random.default_rng(0)
    start, rows = model.initial(random.bytes), random_rows(11, 200)
    assert start.shape == (3 * 8 + 8 + 8 * 3 + 3,) == (model.parameters,)
    first, second = start[:24], start[32:56]
    assert 0.8 * np.sqrt(6 / 11) < np.abs(first).max() <= np.sqrt(6 / 11)
    assert np.abs(second).max() <= np.sqrt(6 / 11) and not start[24:32].any() and not start[56:].any()
    assert abs(first.mean()) < 0.3 and len(set(first)) == 24
    plan = LocalPlan(40, 0.5)
    end = start + train(start, lambda at, _: model.gradient(at, rows), 200, plan, random.bytes).change
    assert model.loss(end, rows) < model.loss(start, rows)


def test_no_rows_no_slope() -> None:
    rows = random_rows(12, 3).where(np.zeros(3, dtype=bool))
    for model in models():
        theta = somewhere(model)
        assert model.loss(theta, rows) == 0 and not model.gradient(theta, rows).any()
        assert model.record_gradients(theta, rows).shape == (0, model.parameters)


@pytest.mark.parametrize(
    "cuts", [[], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [1.0, float("inf")], [float("nan")]]
)
def test_cut_points_that_are_none_are_refused(cuts) -> None:
    with pytest.raises(CallerFault):
        HazardModel(2, np.array(cuts, dtype=np.float64))


def test_other_shapes_are_refused() -> None:
    with pytest.raises(CallerFault):
        HazardModel(0, CUTS)
    with pytest.raises(CallerFault):
        HazardModel(2, CUTS, (4, 0))
    model = HazardModel(3, CUTS)
    with pytest.raises(CallerFault):
        model.loss(np.zeros(5), random_rows(1, 4))
    with pytest.raises(CallerFault):
        model.risk(np.zeros(6), np.zeros((2, 4)))
