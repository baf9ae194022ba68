"""The vectors that a rule compares, read block by block, as they came or mixed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crimson_enclave.robust.distances import mixed_distances, squared_distances
from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal

Floats = NDArray[np.float64]

BLOCK = 1 << 14
"""Coordinates handled at a time: 16 MiB for 128 rows."""


@dataclass(frozen=True)
class Rows:
    """M vectors of length d. With `shares`, row i stands for sum_j shares[i, j] * values[j].

    values: (M, d) float64, finite. shares: (M, M) float64, every row sums to one, or None for the values themselves.
    Mixed vectors exist one block at a time: no second array of M·d numbers is made.
    Raises CallerFault(MALFORMED) for another type or shape.
    """

    values: Floats = field(repr=False)
    shares: Floats | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.dtype != np.float64 or not len(self.values):
            raise CallerFault(Refusal.MALFORMED, "a robust rule reads one or more rows of float64")

    @property
    def count(self) -> int:
        """M, the number of vectors."""
        return len(self.values)

    @property
    def length(self) -> int:
        """d, the number of coordinates."""
        return int(self.values.shape[1])

    @cached_property
    def squared(self) -> Floats:
        """Squared Euclidean distances (M, M) between the vectors."""
        squared = squared_distances(self.values)
        return squared if self.shares is None else mixed_distances(squared, self.shares)

    def blocks(self) -> Iterator[tuple[int, int, Floats]]:
        """(start, stop, (M, stop - start) coordinates) over the whole length."""
        for start in range(0, self.length, BLOCK):
            stop = min(start + BLOCK, self.length)
            block = self.values[:, start:stop]
            yield start, stop, block if self.shares is None else self.shares @ block

    def combined(self, weights: Floats) -> Floats:
        """sum_i weights[i] * row i, of shape (d,). weights: (M,)."""
        own = weights if self.shares is None else weights @ self.shares
        combined: Floats = own @ self.values
        return combined
