"""Squared distances of all pairs of long vectors, from inner products, without the loss that these are known for."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_BLOCK = 1 << 14
# What |x|² + |y|² - 2xy leaves below this share of |x|² + |y|² is the subtraction's own rounding.
_ROUNDING = 1e-13


def squared_distances(values: Floats) -> Floats:
    """|x_i - x_j|² as (M, M), symmetric, with zeros for equal rows. values: (M, d).

    |x|² + |y|² - 2xy is exact to rounding only where x and y are not much longer than x - y. So the origin is moved
    to a row with the smallest median distance to the others: while more than half of the rows lie close together,
    distances among those are exact to about 1e-13 of their own spread, however far the rest lies.
    """
    rough = _around(values, 0)
    middle = len(values) // 2
    origin = int(np.argmin(np.partition(rough, middle, axis=1)[:, middle]))
    return rough if origin == 0 else _around(values, origin)


def _around(values: Floats, origin: int) -> Floats:
    gram = np.zeros((len(values), len(values)))
    for start in range(0, values.shape[1], _BLOCK):
        block = values[:, start : start + _BLOCK]
        shifted = block - block[origin]
        gram += shifted @ shifted.T
    return _spread(gram)


def mixed_distances(squared: Floats, shares: Floats) -> Floats:
    """Squared distances between the rows of shares @ x, of shape (M, M), from those between the rows of x.

    shares: (M, M), every row sums to one. For such weights a and b,
    |sum a_i x_i - sum b_i x_i|² = -½ (a - b)' D (a - b) with D the squared distances (Schoenberg 1935).
    """
    return _spread(-0.5 * (shares @ squared @ shares.T))


def _spread(gram: Floats) -> Floats:
    """gram_ii + gram_jj - 2 gram_ij; the same for inner products that are all off by one constant."""
    own = np.diagonal(gram)
    sizes = np.abs(own)[:, None] + np.abs(own)[None, :]
    squared = own[:, None] + own[None, :] - (gram + gram.T)
    squared[squared <= _ROUNDING * sizes] = 0.0
    np.fill_diagonal(squared, 0.0)
    return squared
