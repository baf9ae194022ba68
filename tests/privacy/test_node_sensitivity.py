"""How far one unit moves the encoded sum: never beyond the policy's bound, and nearly up to it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.playground import default_numbers, default_rules

from crimson_enclave.aggregation.values import bounded
from crimson_enclave.totals import BucketTotal, Totals
from crimson_node.encoding import encode_update
from crimson_node.learning.record_privacy import clipped_sum
from crimson_node.member import Update
from crimson_protocol.layout import Layout
from crimson_protocol.policy.document import ModelRules
from crimson_protocol.policy.privacy import multiplier_micro, noise_for, sensitivity_micro, sigma_micro
from crimson_protocol.policy.privacy_rules import PrivacyRules

MICRO = 1_000_000
RECORD_CLIP, CLIP = 1.0, 8.0


def rules(unit: str, parameters: int, **changes: object) -> ModelRules:
    """A private model whose clip is 8 and whose record clip is 1; few bits, so that rounding counts."""
    knobs = {"parameters": parameters, "counters": 0, "weight_cap": 1, "value_bits": 8}
    knobs |= {"clip_micro": round(CLIP * MICRO), **changes.pop("knobs", {})}
    clip, divisor = (round(RECORD_CLIP * MICRO), 100) if unit == "record" else (0, 0)
    privacy = PrivacyRules(unit, 8000, 5, MICRO // 10 if clip else MICRO, clip, divisor, 10, "release", unit)
    numbers = default_numbers(6, **knobs)
    return default_rules(numbers, privacy=privacy, loss="discrete-hazard", **changes)


def encoded(values: np.ndarray, layout: Layout, seed: int) -> np.ndarray:
    """The parameter lanes, in quanta, rounded with the bits of `seed`."""

    def fill(buffer: memoryview) -> None:
        buffer[:] = np.random.default_rng(seed).bytes(len(buffer))

    vector = encode_update(Update("model", bytes(32), values.astype(np.float32), 1), layout, fill)
    return layout.read(vector, 0, layout.numbers.parameters).view(np.int32).astype(np.int64)


def limit(made: ModelRules) -> float:
    return sensitivity_micro(made) / MICRO


@settings(deadline=None, max_examples=300)
@given(
    parameters=st.integers(1, 64),
    seed=st.integers(0, 2**32),
    scale=st.floats(0, 1e6),
    spread=st.sampled_from([0.0, 1.0]),
)
def test_no_node_moves_the_sum_beyond_its_bound(parameters, seed, scale, spread):
    """Left out, a node takes its encoded vector with it, however long its update was."""
    made = rules("node", parameters)
    draw = np.random.default_rng(seed)
    values = scale * (np.ones(parameters) + spread * draw.normal(0, 1, parameters))
    assert np.linalg.norm(encoded(values, Layout(made.numbers), seed)) <= limit(made)


@settings(deadline=None, max_examples=300)
@given(
    parameters=st.integers(1, 64),
    records=st.integers(0, 40),
    seed=st.integers(0, 2**32),
    scale=st.floats(0, 1e3),
)
def test_no_record_moves_the_sum_beyond_its_bound(parameters, records, seed, scale):
    """The same rows, the same sample, the same rounding: with one record more the vector moves by its clip at most,
    also where the sum of the others is beyond the node's clip."""
    made, draw = rules("record", parameters), np.random.default_rng(seed)
    slopes = scale * draw.normal(0, 1, (records + 1, parameters))
    with_it, without = (sum_of(slopes[:count], parameters) for count in (records + 1, records))
    layout = Layout(made.numbers)
    moved = encoded(with_it, layout, seed) - encoded(without, layout, seed)
    assert np.linalg.norm(moved) <= limit(made)


def sum_of(slopes: np.ndarray, parameters: int) -> np.ndarray:
    return clipped_sum(lambda places: slopes[places], np.arange(len(slopes)), parameters, RECORD_CLIP)


@pytest.mark.parametrize("unit", ["node", "record"])
@pytest.mark.parametrize("parameters", [1, 8])
def test_the_bound_is_nearly_reached(unit, parameters):
    """A search over lengths and roundings comes within a twentieth of it."""
    made = rules(unit, parameters, knobs={"value_bits": 16})
    layout, best = Layout(made.numbers), 0.0
    direction = np.zeros(parameters)
    direction[0] = 1.0
    for seed in range(50):
        if unit == "node":
            moved = encoded(CLIP * direction, layout, seed)
        else:
            # In the middle of the ball, where the projection does nothing.
            base = sum_of(np.tile(direction, (2, 1)), parameters)
            more = sum_of(np.tile(direction, (3, 1)), parameters)
            moved = encoded(more, layout, seed) - encoded(base, layout, seed)
        best = max(best, float(np.linalg.norm(moved)))
    assert 0.95 * limit(made) <= best <= limit(made)


@settings(deadline=None, max_examples=150)
@given(
    parameters=st.integers(1, 32), seed=st.integers(0, 2**32), others=st.integers(1, 4), long=st.booleans()
)
def test_a_projected_bucket_moves_no_further(parameters, seed, others, long):
    """Projection on a ball does not expand, and cutting to integers is in the bound."""
    made = replace(rules("node", parameters, knobs={"bucket_size": others + 1}), enclave_clip=1)
    layout, draw = Layout(made.numbers), np.random.default_rng(seed)
    own = encoded(CLIP * 10 * draw.normal(0, 1, parameters), layout, seed)
    rest = sum(
        (
            encoded(CLIP * 10 * np.ones(parameters) * draw.normal(1, 0.1), layout, seed + 1 + at)
            for at in range(others)
        ),
        np.zeros(parameters, np.int64),
    )
    if long:
        # Dishonest neighbours do not clip: the bucket is far beyond the bound.
        rest = rest * 20
    moved = projected(made, layout, rest + own) - projected(made, layout, rest)
    assert np.linalg.norm(moved) <= limit(made)


def projected(made: ModelRules, layout: Layout, quanta: np.ndarray) -> np.ndarray:
    vector = np.zeros(layout.length, np.uint32)
    layout.write(vector, 0, (quanta % 2**32).astype(np.uint32))
    size = made.numbers.bucket_size
    return bounded(made, Totals(layout, [BucketTotal(tuple(range(size)), vector)]))[0]


@pytest.mark.parametrize("unit", ["node", "record"])
@pytest.mark.parametrize("multiplier", [1, 500_000, 1_129_737, 30_000_000])
def test_the_noise_for_a_multiplier_is_worth_it_and_little_more(unit, multiplier):
    made = rules(unit, 51)
    noisy = replace(made, numbers=replace(made.numbers, noise_micro=noise_for(made, multiplier)))
    assert multiplier <= multiplier_micro(noisy) <= multiplier + 40
    assert sigma_micro(noisy) >= multiplier * sensitivity_micro(noisy) // MICRO
