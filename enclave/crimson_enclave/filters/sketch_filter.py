"""Which of a round's updates look poisoned, judged by their count sketches: the enclave never sees an update.

Dot products of sketches estimate dot products of updates (crimson_protocol/sketch.py), so lengths, distances and
directions can be tested. Four tests in turn, thresholds fixed on three learning tasks and measured on others
(benchmarks/learning/sketch_filter.py):

    norm       longer than the public bound. Public: it depends on the node's own update alone.
    distance   mean distance to the nearest n - f - 1 others, as in Krum (Blanchard et al. 2017), far above the median.
    direction  against what the federation has just learnt, then against that and this round's sum taken together, as a
               model may be turning; not held against anybody where it holds for more than f.
    spectrum   far out along the direction in which the remaining sketches are longest (after Diakonikolas et al. 2019),
               where those far out move the mean along it by more than its standard errors.

At most f nodes are bad, so the tests that compare put out the furthest and never more than f in all: honest sites
that are merely unusual do not disarm a test, and whoever provokes it cannot empty a cohort.

What stays inside honest spread is not found: small steps in one direction over many rounds, backdoors.
"""

import numpy as np
from numpy.typing import NDArray

from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.sketch import ROWS

NORM, DISTANCE, DIRECTION, SPECTRUM = "norm", "distance", "direction", "spectrum"
TESTS = (NORM, DISTANCE, DIRECTION, SPECTRUM)

# Standard errors of a norm's estimate, 1 / sqrt(2 m): an update at the bound fails once in 30,000.
_NORM_ERRORS = 4.0
_FAR = 8.0
_ALONG = 7.0
_AGAINST = -0.5
_SPECTRA = 2
# Standard errors of the mean. A lone site far out is unusual; colluding ones move the mean together, or do no harm.
_MOVED = 2.0
# The median and MAD of few values scatter, and honest sites with them: limits widen below this size, to sqrt(60 / n)
# times as much, which keeps false flags near 1 % down to six sites.
_LARGE = 60
# Standard deviation of a normal variable over its median absolute deviation.
_NORMAL_MAD = 1.4826
# Of the bound: where nearly all sites agree to within this, nothing tells one from another.
_NEGLIGIBLE = 1e-3

Reals = NDArray[np.float64]


def flag(sketches: Reals, bound: float | Reals, tolerance: int, last: Reals | None = None) -> dict[int, str]:
    """Places in `sketches` (n, m) of the updates to leave out, each with the test it failed; ascending.

    sketches: of each update in the update's unit, so divided by its node's weight. bound: the L2 norm that an honest
    update keeps to, for all or for each (n,), where rounding noise differs by weight. tolerance: f, nodes that may be
    bad. last: sketch (m,), with the same seed, of what the federation learnt in its last round; None at first,
    and the sum of this round's sketches stands in for it.
    Deterministic. More than f may fail the norm test, which compares with nobody.
    Raises CallerFault: MALFORMED for other shapes, NOT_FINITE, OUT_OF_RANGE for f or a bound that is not positive.
    """
    bounds = _checked(sketches, bound, tolerance, last)
    scaled = sketches / np.sqrt(ROWS)
    norms = np.linalg.norm(scaled, axis=1)
    limits = bounds * (1 + _NORM_ERRORS / np.sqrt(2 * sketches.shape[1]))
    flagged = dict.fromkeys((int(place) for place in np.flatnonzero(norms > limits)), NORM)
    floor = float(np.median(bounds)) * _NEGLIGIBLE
    _flag_distant(flagged, scaled, tolerance, floor)
    _flag_opposed(flagged, scaled, tolerance, last)
    if last is not None:
        turning = _unit(last) + _unit(scaled[_unflagged(flagged, len(scaled))].sum(axis=0))
        _flag_opposed(flagged, scaled, tolerance, turning)
    for _ in range(_SPECTRA):
        _flag_along_spectrum(flagged, scaled, tolerance, floor)
    return dict(sorted(flagged.items()))


def _checked(sketches: Reals, bound: float | Reals, tolerance: int, last: Reals | None) -> Reals:
    bounds: Reals = np.broadcast_to(np.asarray(bound, np.float64), sketches.shape[:1])
    if sketches.ndim != 2 or not sketches.size or (last is not None and last.shape != sketches.shape[1:]):
        raise CallerFault(Refusal.MALFORMED, "sketches are rows, and the last change's sketch is one more")
    if not np.isfinite(sketches).all() or (last is not None and not np.isfinite(last).all()):
        raise CallerFault(Refusal.NOT_FINITE, "a sketch contains a value that is not finite")
    if not (np.isfinite(bounds).all() and (bounds > 0).all() and tolerance >= 0):
        raise CallerFault(
            Refusal.OUT_OF_RANGE, "a filter has a positive bound and bears no fewer than 0 nodes"
        )
    return bounds


def _flag_distant(flagged: dict[int, str], scaled: Reals, tolerance: int, floor: float) -> None:
    rest = _unflagged(flagged, len(scaled))
    bad = max(0, tolerance - len(flagged))
    nearest = len(rest) - bad - 1
    if nearest < 1:
        return
    gram = scaled[rest] @ scaled[rest].T
    own = np.diagonal(gram)
    distances = np.sqrt(np.maximum(own[:, None] + own[None, :] - 2 * gram, 0.0))
    np.fill_diagonal(distances, np.inf)
    scores = np.sort(distances, axis=1)[:, :nearest].mean(axis=1)
    excess = scores - np.median(scores)
    _flag_furthest(flagged, rest, excess, (_FAR * _spread(excess, floor), bad), DISTANCE)


def _flag_opposed(flagged: dict[int, str], scaled: Reals, tolerance: int, last: Reals | None) -> None:
    rest = _unflagged(flagged, len(scaled))
    learnt = scaled[rest].sum(axis=0) if last is None else last
    lengths = np.linalg.norm(scaled[rest], axis=1) * np.linalg.norm(learnt)
    opposed = rest[scaled[rest] @ learnt < _AGAINST * lengths]
    # Where more than f are against it, what was learnt last is the likelier culprit.
    if len(flagged) + len(opposed) <= tolerance:
        flagged.update(dict.fromkeys((int(place) for place in opposed), DIRECTION))


def _flag_along_spectrum(flagged: dict[int, str], scaled: Reals, tolerance: int, floor: float) -> None:
    rest = _unflagged(flagged, len(scaled))
    bad = max(0, tolerance - len(flagged))
    if len(rest) < 2 or not bad:
        return
    longest = np.linalg.svd(scaled[rest], full_matrices=False)[2][0]
    along = scaled[rest] @ longest
    offset = along - np.median(along)
    spread = _spread(offset, floor)
    moved = abs(float(offset[np.abs(offset) > _ALONG * spread].sum()))
    if moved > _MOVED * spread * np.sqrt(len(rest)):
        _flag_furthest(flagged, rest, np.abs(offset), (_ALONG * spread, bad), SPECTRUM)


def _spread(offset: Reals, floor: float) -> float:
    """Robust standard deviation of offsets from their median, by their median absolute value: at least `floor`, and
    more for few, whose median scatters."""
    deviation = _NORMAL_MAD * float(np.median(np.abs(offset)))
    return max(deviation, floor) * max(1.0, float(np.sqrt(_LARGE / len(offset))))


def _flag_furthest(
    flagged: dict[int, str], places: NDArray[np.intp], excess: Reals, limits: tuple[float, int], test: str
) -> None:
    """Flag the places whose excess is beyond a limit: the furthest, at most `most`; of equals the first."""
    limit, most = limits
    for place in np.argsort(-excess, kind="stable")[:most]:
        if excess[place] > limit:
            flagged[int(places[place])] = test


def _unit(vector: Reals) -> Reals:
    """Its direction; zeros have none."""
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector


def _unflagged(flagged: dict[int, str], count: int) -> NDArray[np.intp]:
    return np.array([place for place in range(count) if place not in flagged], np.intp)
