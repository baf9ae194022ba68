"""Private local steps: what they are without noise, how large the noise is, and that no low bit tells of the sum."""

import os
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import chi2, norm
from tests.unit.test_record_privacy import random_rows

from crimson_node.learning import step_noise
from crimson_node.learning.hazard import HazardModel
from crimson_node.learning.local_steps import LocalPlan
from crimson_node.learning.private_steps import private_steps
from crimson_node.learning.record_privacy import grid_of
from crimson_node.learning.step_noise import noisy
from crimson_protocol.policy.document import MICRO
from crimson_protocol.policy.privacy_rules import PrivacyRules

CLIP = 0.3
RULES = PrivacyRules(
    "record",
    8000,
    5,
    MICRO,
    round(CLIP * MICRO),
    25,
    10,
    "nodes",
    "record",
    step_multiplier_micro=MICRO,
    steps=4,
)
MODEL = HazardModel(4, (2.0, 4.0, 8.0))


def on_grid(values, clip: float) -> np.ndarray:
    return np.trunc(np.array(values) / grid_of(clip)) * grid_of(clip)


def change(rows, plan: LocalPlan, rules: PrivacyRules = RULES) -> np.ndarray:
    start = np.linspace(-0.2, 0.2, MODEL.parameters)

    def slopes_at(point):
        return lambda places: MODEL.record_gradients(point, rows.training().at(places), 0.01)

    return private_steps(start, slopes_at, len(rows.training()), plan, rules, os.urandom)


def test_without_noise_they_are_clipped_gradient_descent(monkeypatch) -> None:
    """The same steps in one loop: clip, add, divide by the public number, with momentum and the pull to the start."""
    monkeypatch.setattr(step_noise, "noisy", lambda total, *_: total)
    rows, plan = random_rows(1, 40), LocalPlan(4, 0.5, proximal=0.1, momentum=0.6)
    start = point = np.linspace(-0.2, 0.2, MODEL.parameters)
    velocity = np.zeros_like(start)
    for _ in range(4):
        each = MODEL.record_gradients(point, rows, 0.01)
        norms = np.linalg.norm(each, axis=1, keepdims=True)
        slope = (each * np.minimum(1, CLIP / norms)).sum(axis=0) / 25
        velocity = 0.6 * velocity + slope + 0.1 * (point - start)
        point = point - 0.5 * velocity
    assert np.allclose(change(rows, plan), point - start, rtol=0, atol=1e-8)


def test_each_step_draws_its_own_sample_and_its_own_noise(monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(step_noise, "noisy", lambda total, *told: seen.append((total, told)) or total)
    change(random_rows(2, 200), LocalPlan(4, 0.5), replace(RULES, sampling_micro=MICRO // 2))
    assert len({total.tobytes() for total, _ in seen}) == 4
    assert {told for _, told in seen} == {(CLIP, MICRO)}


def test_a_site_without_rows_moves_by_noise_alone() -> None:
    moved = change(random_rows(3, 0), LocalPlan(4, 0.5))
    assert np.all(moved != 0)


@pytest.mark.parametrize("multiplier", [MICRO // 2, MICRO, 32 * MICRO])
@pytest.mark.parametrize("clip", [0.3, 1.0, 1e-6])
def test_the_noise_is_gaussian_of_the_promised_size(clip, multiplier) -> None:
    """Chi-square over equal cells, mean and variance, each at 1e-6."""
    count, cells = 20_000, 64
    total = on_grid(np.full(count, clip / 3), clip)
    drawn = (noisy(total, clip, multiplier) - total) / (clip * multiplier / MICRO)
    assert abs(drawn.mean()) < norm.isf(5e-7) / np.sqrt(count)
    assert chi2.ppf(5e-7, count) < (drawn**2).sum() < chi2.isf(5e-7, count)
    found, _ = np.histogram(norm.cdf(drawn), bins=cells, range=(0, 1))
    assert ((found - count / cells) ** 2).sum() / (count / cells) < chi2.isf(1e-6, cells - 1)


def test_sum_and_noise_are_added_exactly_and_rounded_once(monkeypatch) -> None:
    """The least step of the finer grid beside a sum that float64 could not add it to without a loss before the end."""
    monkeypatch.setattr(step_noise, "_mechanism", lambda _: lambda zeros: [(1 << 58) + 1 for _ in zeros])
    grid = grid_of(CLIP)
    total = np.array([grid * (2.0**51 + 1)])
    exact = Fraction(grid) * (2**51 + 1) + Fraction(grid) * ((1 << 58) + 1) / 2**20
    assert Fraction(float(noisy(total, CLIP, MICRO)[0])) == Fraction(float(exact))


def test_the_deviation_is_never_below_what_was_promised(monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(step_noise, "_mechanism", lambda scale: asked.append(scale) or (lambda zeros: zeros))
    for multiplier in (MICRO // 2, 1_196_001, 31_999_999):
        noisy(np.zeros(1), CLIP, multiplier)
        promised = Fraction(multiplier, MICRO) * Fraction(CLIP) / Fraction(grid_of(CLIP)) * 2**20
        assert promised <= Fraction(asked[-1]) < promised * (1 + Fraction(1, 2**50))
        assert asked[-1] >= 2.0**48
