"""The robust rules: each makes one vector (d,) of M vectors, of which at most f are bad.

`combine` is the one entry: it checks the tolerance, the rules do not. None of them looks at who sent what. Of vectors
that a rule finds equally good the first are taken; otherwise the order of the vectors does not matter.
"""

import numpy as np
from numpy.typing import NDArray

from crimson_enclave.robust.bounds import lengths, projection
from crimson_enclave.robust.mixing import mixed
from crimson_enclave.robust.rows import Rows
from crimson_enclave.robust.tolerance import refuse_beyond
from crimson_enclave.robust.weiszfeld import median_weights
from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal

Floats = NDArray[np.float64]


def combine(
    values: Floats, rule: str, tolerance: int, mixing: bool, start: Floats | None, radius: float
) -> Floats:
    """What `rule` makes of the bucket means, of shape (d,), in their unit.

    values: (M, d) float64, finite: the caller checked their range and, where the policy sets one, their norm bound.
    rule: a name of ROBUST_RULES; "none" and "norm-bound" are the mean. tolerance: f, the bad values it must withstand.
    mixing: nearest-neighbour mixing first. start: (d,), the last aggregated change, zeros where None, and radius,
    in L2, are for "centered-clipping" alone.
    Raises CallerFault: COHORT_TOO_SMALL beyond the tolerance, UNSUPPORTED for an unknown rule or one that does not read
    bucket means, MALFORMED or WRONG_LENGTH for another shape.
    """
    refuse_beyond(rule, len(values), tolerance)
    if start is not None and start.shape != values.shape[1:]:
        raise CallerFault(Refusal.WRONG_LENGTH, "the start of a rule is as long as its values")
    return _apply(mixed(values, tolerance) if mixing else Rows(values), rule, tolerance, start, radius)


def _apply(rows: Rows, rule: str, tolerance: int, start: Floats | None, radius: float) -> Floats:
    match rule:
        case "none" | "norm-bound":
            return mean(rows)
        case "trimmed-mean":
            return trimmed_mean(rows, tolerance)
        case "median":
            return median(rows)
        case "geometric-median":
            return geometric_median(rows)
        case "krum":
            return krum(rows, tolerance)
        case "multi-krum":
            return multi_krum(rows, tolerance)
        case "centered-clipping":
            return centered_clipping(rows, np.zeros(rows.length) if start is None else start, radius)
        case other:
            raise CallerFault(Refusal.UNSUPPORTED, f"{other} does not read bucket means")


def mean(rows: Rows) -> Floats:
    """The mean: tolerates nobody, and where every vector is bounded does bounded harm."""
    return rows.combined(np.full(rows.count, 1.0 / rows.count))


def trimmed_mean(rows: Rows, trimmed: int) -> Floats:
    """In every coordinate the mean without the `trimmed` lowest and highest values (Yin et al. 2018)."""
    if trimmed == 0:
        return mean(rows)
    kept = slice(trimmed, rows.count - trimmed)
    result = np.empty(rows.length)
    for start, stop, block in rows.blocks():
        # Sorted along contiguous memory: several times faster than along the first axis.
        ordered = np.sort(block.T, axis=1)
        ordered[:, kept].mean(axis=1, out=result[start:stop])
    return result


def median(rows: Rows) -> Floats:
    """In every coordinate the median; of an even number of vectors the mean of the two in the middle."""
    return trimmed_mean(rows, (rows.count - 1) // 2)


def geometric_median(rows: Rows) -> Floats:
    """The point with the smallest sum of distances to the vectors, to convergence; no smoothing."""
    return rows.combined(median_weights(rows.squared))


def krum(rows: Rows, tolerance: int) -> Floats:
    """The vector nearest to its M - f nearest, itself among them, by squared distance.

    So in Allouah et al. 2023, with a bound on the error; Blanchard et al. 2017 count one neighbour less.
    """
    return rows.combined(_share_of(_by_score(rows, tolerance)[:1], rows.count))


def multi_krum(rows: Rows, tolerance: int) -> Floats:
    """The mean of the M - f vectors with the best score of `krum`."""
    return rows.combined(_share_of(_by_score(rows, tolerance)[: rows.count - tolerance], rows.count))


def _by_score(rows: Rows, tolerance: int) -> NDArray[np.intp]:
    ordered = np.sort(rows.squared, axis=1)
    scores = ordered[:, : rows.count - tolerance].sum(axis=1)
    return np.argsort(scores, kind="stable")


def _share_of(chosen: NDArray[np.intp], count: int) -> Floats:
    weights = np.zeros(count)
    weights[chosen] = 1.0 / len(chosen)
    return weights


def centered_clipping(rows: Rows, start: Floats, radius: float) -> Floats:
    """start + mean of the differences to it, each clipped to `radius` in L2 (Karimireddy et al. 2021, one step).

    start: (d,), the last aggregate. The result lies within `radius` of it.
    """
    weights = projection(lengths(rows, start), radius) / rows.count
    return rows.combined(weights) + (1.0 - float(weights.sum())) * start
