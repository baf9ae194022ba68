import numpy as np
import pytest

from crimson_protocol.errors import CallerFault
from crimson_protocol.sketch import equal_modulo, sketch
from crimson_simulation.attacks.sketch_liars import carried_liars, naive_liars

SEED, BUCKETS = bytes(range(32)), 64


def lanes(seed: int, rows: int, scale: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-scale, scale + 1, (rows, 1500), np.int64)


def sums_agree(sketched: np.ndarray, submitted: np.ndarray) -> bool:
    total = sum(sketch(row, SEED, BUCKETS) for row in sketched)
    return equal_modulo(total, sketch(submitted.sum(axis=0), SEED, BUCKETS), 32)


def test_naive_liars_sketch_honest_updates_and_are_caught_by_the_sum() -> None:
    honest, submitted = lanes(1, 7, 100), lanes(2, 7, 60_000)
    sketched = naive_liars(honest, submitted)
    assert np.array_equal(sketched, honest)
    assert not sums_agree(sketched, submitted)
    assert sums_agree(naive_liars(honest, honest), honest)


@pytest.mark.parametrize("carriers", [1, 3, 4, 7])
def test_carriers_make_the_sum_right_and_show_it(carriers: int) -> None:
    honest, submitted = lanes(3, 7, 100), lanes(4, 7, 60_000)
    sketched = carried_liars(honest, submitted, carriers)
    assert sums_agree(sketched, submitted)
    assert np.array_equal(sketched[: 7 - carriers], honest[: 7 - carriers])
    assert np.linalg.norm(sketched[-carriers:], axis=1).min() > 10 * np.linalg.norm(honest, axis=1).max()


def test_what_is_no_lie_is_refused() -> None:
    honest = lanes(5, 3, 10)
    for carriers in (0, 4):
        with pytest.raises(CallerFault):
            carried_liars(honest, honest, carriers)
    with pytest.raises(CallerFault):
        naive_liars(honest, honest[:2])
    with pytest.raises(CallerFault):
        naive_liars(honest.astype(np.float64), honest)
