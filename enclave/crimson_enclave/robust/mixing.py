"""Nearest-neighbour mixing: every vector is replaced by the mean of those nearest to it, before a rule is applied."""

import numpy as np
from numpy.typing import NDArray

from crimson_enclave.robust.rows import Rows

Floats = NDArray[np.float64]


def mixed(values: Floats, tolerance: int) -> Rows:
    """Each of the M vectors as the mean of the M - f nearest to it, itself among them (Allouah et al. 2023, "Fixing
    by mixing", algorithm 2). values: (M, d). tolerance: f, checked by the caller.
    """
    return Rows(values, neighbour_shares(Rows(values).squared, tolerance))


def neighbour_shares(squared: Floats, tolerance: int) -> Floats:
    """(M, M): row i holds 1 / (M - f) for the M - f rows nearest to i. Of equally near ones the first are taken."""
    count = len(squared)
    nearest = np.argsort(squared, axis=1, kind="stable")[:, : count - tolerance]
    shares = np.zeros((count, count))
    np.put_along_axis(shares, nearest, 1.0 / (count - tolerance), axis=1)
    return shares
