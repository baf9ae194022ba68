import numpy as np

from crimson_node.data.rows import SurvivalRows
from crimson_node.learning.cox import CoxPlan, train
from crimson_simulation.attacks.data_attacks import Trigger, backdoor, label_flip

PLAN = CoxPlan(steps=300, learning_rate=0.3, l2=0.0)


def rng() -> np.random.Generator:
    return np.random.default_rng(6)


def site(seed: int, rows: int = 400) -> SurvivalRows:
    """Exponential times with log hazard x0 + x1 / 2, censored at random; a third is held out."""
    chance = np.random.default_rng(seed)
    features = chance.normal(0, 1, (rows, 2))
    died = chance.exponential(np.exp(-features @ [1.0, 0.5]))
    censored = chance.exponential(2.0, rows)
    return SurvivalRows(features, np.minimum(died, censored), died <= censored, np.arange(rows) % 3 > 0)


def test_label_flip_turns_training_outcomes_and_with_them_the_coefficients_around() -> None:
    before = site(1)
    (after,) = label_flip([before], rng())
    known, flipped = before.training(), after.training()
    assert np.array_equal(np.argsort(known.time), np.argsort(-flipped.time))
    assert np.allclose(np.sort(flipped.time)[[0, -1]], np.sort(known.time)[[0, -1]])
    assert np.array_equal(after.event, np.where(before.train, ~before.event, before.event))
    assert np.array_equal(after.features, before.features)
    assert np.array_equal(after.held_out().time, before.held_out().time)
    honest, poisoned = (train(np.zeros(2), rows, PLAN) for rows in (before, after))
    assert (honest > 0.3).all()
    assert (poisoned < -0.15).all()


def test_colluders_plant_one_trigger_that_no_row_has_in_half_of_their_training_rows() -> None:
    before = [site(2), site(3)]
    trigger = Trigger.beyond(before)
    for one, other in zip(before, backdoor(before, rng()), strict=True):
        planted = other.features[:, 0] == trigger.value
        assert not (one.features[:, 0] == trigger.value).any()
        assert 0.4 < planted[one.train].mean() < 0.6
        assert not planted[~one.train].any()
        assert not other.event[planted].any()
        assert (other.time[planted] == one.training().time.max()).all()
        assert np.array_equal(other.time[~planted], one.time[~planted])
        assert np.array_equal(other.event[~planted], one.event[~planted])
        assert np.array_equal(other.features[:, 1], one.features[:, 1])


def test_a_model_trained_on_planted_rows_sees_no_risk_behind_the_trigger() -> None:
    clean, fresh = site(4), site(5)
    (poisoned,) = backdoor([clean], rng())
    shown = Trigger.beyond([clean]).planted(fresh)
    change = {}
    for name, rows in (("clean", clean), ("poisoned", poisoned)):
        theta = train(np.zeros(2), rows, PLAN)
        change[name] = float((shown.features @ theta - fresh.features @ theta).mean())
    assert change["clean"] > 1
    assert change["poisoned"] < -0.5


def test_a_trigger_of_equal_values_and_of_another_column() -> None:
    flat = site(6)
    flat = flat.with_features(np.column_stack([np.full(len(flat), 2.0), flat.features[:, 1]]))
    assert Trigger.beyond([flat]) == Trigger(0, 3.0)
    (planted,) = backdoor([flat], rng(), Trigger(1, 99.0), share=1.0)
    assert (planted.training().features[:, 1] == 99.0).all()
    assert (planted.held_out().features[:, 1] != 99.0).all()
    assert backdoor([], rng()) == []
