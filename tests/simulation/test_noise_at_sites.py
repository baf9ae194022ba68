"""`crimson train --dp record --dp-noise nodes`: what its policy says, and which filters go with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crimson_protocol.errors import PolicyRefusal
from crimson_protocol.policy.document import ModelRules
from crimson_protocol.policy.privacy_rules import LEAST_STEP_MULTIPLIER
from crimson_simulation.dataset import PooledData, read_pooled
from crimson_simulation.forecast import forecast
from crimson_simulation.options import COMPARED, TrainOptions
from crimson_simulation.parties import models_of
from crimson_simulation.policy_writer import MIXED
from crimson_simulation.public_facts import public_facts

ROLES = {"site_column": "site", "time_column": "time", "event_column": "event"}
SITES, ROWS = 12, 960


@pytest.fixture(scope="module")
def pooled(tmp_path_factory) -> PooledData:
    path, chance = tmp_path_factory.mktemp("rows") / "units.csv", np.random.default_rng(5)
    lines = ["site,time,event,age,dose"]
    for row in range(ROWS):
        age, dose = chance.normal(60, 9), chance.random()
        lines.append(
            f"S{row % SITES:02d},{1 + row * 7 % 97},{int(chance.random() < 0.5)},{age:.3f},{dose:.3f}"
        )
    path.write_text("\n".join(lines) + "\n")
    return read_pooled(path, **ROLES)


def options(**changes: Any) -> TrainOptions:
    private = {"model": "hazard", "dp": "record", "dp_noise": "nodes"}
    return TrainOptions(data=Path("-"), out=Path("-"), engine="inline", **{**ROLES, **private, **changes})


def rules(pooled: PooledData, **changes: Any) -> ModelRules:
    return models_of(pooled, options(**changes), public_facts(pooled))[0][0]


def test_sites_add_the_noise_and_the_enclave_none(pooled):
    found = rules(pooled, local_steps=4, rounds=6)
    privacy = found.privacy
    assert (privacy.noise, privacy.steps, privacy.releases) == ("nodes", 4, 6)
    assert found.numbers.noise_micro == 0 and privacy.step_multiplier_micro >= LEAST_STEP_MULTIPLIER
    # A tenth of what one site has: the federation's sample would be twelve times that.
    assert privacy.divisor == round(0.1 * public_facts(pooled).rows / SITES)


def test_every_local_step_is_charged(pooled):
    one, four = (forecast(pooled, options(local_steps=steps, rounds=6)) for steps in (1, 4))
    assert [expected["privacy"]["charged_steps"] for expected in (one, four)] == [1, 4]
    assert four["privacy"]["noise_multiplier"] > one["privacy"]["noise_multiplier"]
    for expected in (one, four):
        assert 7.9 < expected["privacy"]["epsilon_after"]["6"] <= 8


def test_a_generous_budget_is_not_spent(pooled):
    """No step has less noise than half the clip, and the forecast says what that comes to."""
    privacy = forecast(pooled, options(rounds=2, epsilon=90.0))["privacy"]
    assert privacy["noise_multiplier"] == LEAST_STEP_MULTIPLIER / 1e6
    assert privacy["epsilon_after"]["2"] < 30 and privacy["budget"] == 90


def test_noise_to_signal_is_that_of_all_steps_beside_all_that_records_can_do(pooled):
    found = forecast(pooled, options(rounds=2))["privacy"]
    parameters, divisor = rules(pooled, rounds=2).numbers.parameters, rules(pooled, rounds=2).privacy.divisor
    # Over n sites and k steps: z sqrt(d) / (sqrt(n) sqrt(k) divisor).
    length = found["noise_multiplier"] * np.sqrt(parameters / SITES / 5) / divisor
    assert found["noise_to_signal"] == pytest.approx(length, abs=1e-4)


@pytest.mark.parametrize("strategy", COMPARED)
@pytest.mark.parametrize("size", [1, 2])
def test_every_robust_rule_goes_with_it(pooled, strategy, size):
    expected = forecast(pooled, options(rounds=1, strategy=strategy, bucket_size=size))
    assert expected["robust_rule"] == strategy and expected["privacy"]["noise"] == "nodes"
    found = rules(pooled, rounds=1, strategy=strategy, bucket_size=size)
    assert bool(found.mixing) is (strategy in MIXED)


def test_a_filter_on_sketches_does_not(pooled):
    """Sketches are shown in attempts that nobody is charged for."""
    with pytest.raises(PolicyRefusal, match="before they are charged"):
        forecast(pooled, options(rounds=1, hidden=(64, 64), sketch=256))


@pytest.mark.parametrize("changes", [{}, {"strategy": "centered-clipping", "bucket_size": 1}])
def test_the_bound_on_an_update_leaves_room_for_its_noise(pooled, changes):
    """Updates of noise alone, drawn as sites draw it, hardly ever reach the bound; one that was asked for stays."""
    found = rules(pooled, hidden=(64, 64), rounds=2, **changes)
    deviation = 0.5 * np.sqrt(5) * found.privacy.step_multiplier_micro / 1e6 / found.privacy.divisor
    noise = np.random.default_rng(2).normal(0, deviation, (200, found.numbers.parameters))
    assert np.linalg.norm(noise, axis=1).max() < found.numbers.clip_micro / 1e6
    assert found.radius_micro in (0, found.numbers.clip_micro // 2)
    assert rules(pooled, clip=2.0, rounds=2, **changes).numbers.clip_micro == 2_000_000
