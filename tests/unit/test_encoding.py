from itertools import product

import numpy as np
import pytest
from tests.playground import default_numbers

from crimson_node import encoding
from crimson_node.encoding import encode_update
from crimson_node.member import Update
from crimson_protocol.layout import Layout


@pytest.mark.parametrize(("slices", "counters", "weight"), [*product((1, 2, 3, 7), (0, 1, 3), (0, 5))])
def test_every_word_of_the_vector_is_written(
    slices: int, counters: int, weight: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(default_numbers(6, parameters=11, counters=counters, slices=slices))
    values = np.linspace(-1, 1, 11, dtype=np.float32)
    update = Update("model", bytes(32), values, weight, tuple(range(counters)))

    def fill(buffer: memoryview) -> None:
        buffer[:] = bytes(len(buffer))

    class Poisoned:
        """numpy, but fresh memory holds `left`."""

        def __init__(self, left: int) -> None:
            self.left = left

        def __getattr__(self, name: str) -> object:
            return getattr(np, name)

        def empty(self, length: int, kind: type) -> np.ndarray:
            return np.full(length, self.left, kind)

    vectors = []
    for left in (0, 0xDEADBEEF):
        monkeypatch.setattr(encoding, "np", Poisoned(left))
        vectors.append(encode_update(update, layout, fill))
    assert np.array_equal(*vectors)
    for words in layout.counts(vectors[0]):
        assert list(words) == [1] + [0] * (layout.count_words - 1)
