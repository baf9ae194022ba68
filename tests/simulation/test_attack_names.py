from dataclasses import replace

import numpy as np
import pytest

from crimson_node.data.rows import SurvivalRows
from crimson_node.member import Update
from crimson_simulation.attacks.registry import DATA_ATTACKS, NAMES, UPDATE_ATTACKS, Attack, parse
from crimson_simulation.options import BadOption


def updates(count: int = 10) -> dict[int, Update]:
    drawn = np.random.default_rng(8).normal(0, 1, (count, 4)).astype(np.float32)
    return {node: Update("model", bytes(32), row, 3 + node, (node, 7)) for node, row in enumerate(drawn)}


def sites(count: int = 10) -> list[SurvivalRows]:
    chance = np.random.default_rng(9)
    return [
        SurvivalRows(
            chance.normal(0, 1, (20, 3)),
            chance.uniform(1, 9, 20),
            chance.random(20) < 0.5,
            np.arange(20) < 14,
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_and_a_share(name: str) -> None:
    assert parse(f"{name}:0.2") == Attack(name, 0.2)


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(BadOption) as caught:
        parse("signflip:0.2")
    assert "sign-flip" in caught.value.hint
    with pytest.raises(BadOption) as caught:
        parse("min_max:0.2")
    assert "min-max" in caught.value.hint


@pytest.mark.parametrize("share", ["", ":", ":0", ":1", ":-0.1", ":nan", ":inf", ":20%", ":0.2:1"])
def test_a_share_that_is_none(share: str) -> None:
    with pytest.raises(BadOption):
        parse(f"alie{share}")


def test_who_attacks_is_drawn_by_the_seed_alone() -> None:
    attack = Attack("alie", 0.2)
    drawn = [attack.sites(67, seed) for seed in range(200)]
    assert drawn == [Attack("noise", 0.2).sites(67, seed) for seed in range(200)]
    assert {len(set(chosen)) for chosen in drawn} == {13}
    assert all(list(chosen) == sorted(chosen) for chosen in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=67)
    # Every site is drawn 200 * 13 / 67 = 38.8 times on average, with a standard deviation of 5.6.
    assert counts.min() > 15
    assert counts.max() < 65


def test_at_least_one_attacks_and_one_does_not() -> None:
    assert len(Attack("alie", 0.01).sites(5, 1)) == 1
    assert len(Attack("alie", 0.99).sites(5, 1)) == 4


@pytest.mark.parametrize("name", NAMES)
def test_only_the_attackers_updates_change_and_only_by_attacks_on_updates(name: str) -> None:
    trained, attackers = updates(), (2, 5)
    sent = Attack(name, 0.2).on_updates(trained, attackers, 1.0, seed=4, round_=2)
    assert list(sent) == list(trained)
    for node, update in trained.items():
        assert replace(sent[node], parameters=update.parameters) == update
        same = np.array_equal(sent[node].parameters, update.parameters)
        assert same is (node not in attackers or name in DATA_ATTACKS)
        assert sent[node].parameters.dtype == np.float32


@pytest.mark.parametrize("name", ["flip-at-bound", "sign-flip", "alie"])
@pytest.mark.parametrize("clip", [0.5, 100.0])
def test_attackers_go_by_what_honest_sites_send_within_the_clip(name: str, clip: float) -> None:
    trained, attackers = updates(), (9, 0)
    sent = Attack(name, 0.2).on_updates(trained, attackers, clip, seed=4, round_=2)
    rows = np.array([trained[node].parameters for node in range(10)], np.float64)
    assert (np.linalg.norm(rows, axis=1) > 0.5).sum() > 5
    rows *= np.minimum(1, clip / np.linalg.norm(rows, axis=1))[:, None]
    expected = UPDATE_ATTACKS[name](rows[1:9], rows[[9, 0]], clip, np.random.default_rng(0))
    for node, row in zip(attackers, expected, strict=True):
        assert np.allclose(sent[node].parameters, row, rtol=1e-3)


def test_a_dropped_attacker_sends_nothing() -> None:
    trained = updates()
    del trained[2]
    assert set(Attack("alie", 0.2).on_updates(trained, (2, 5), 1.0, 4, 2)) == set(trained)


@pytest.mark.parametrize("name", NAMES)
def test_only_the_attackers_rows_change_and_only_by_attacks_on_data(name: str) -> None:
    before = sites()
    after = Attack(name, 0.2).on_rows(before, (1, 7), seed=3)
    for place, (one, other) in enumerate(zip(before, after, strict=True)):
        changed = not (np.array_equal(one.time, other.time) and np.array_equal(one.features, other.features))
        assert changed is (place in (1, 7) and name in DATA_ATTACKS)
