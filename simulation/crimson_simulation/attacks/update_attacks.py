"""Poisoned updates: from what honest sites send to what k colluding attackers send instead.

Every attack takes `honest` (h, d), the updates of the honest sites, of which the attackers know all; `own`
(k, d), what the attackers would send were they honest; `clip`, the federation's public bound on an update's
L2 norm; and a generator. It returns (k, d), all in the update's unit. Only `edge` and `flip_at_bound` keep
to the bound; the others leave it to the enclave to notice.
"""

from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from crimson_node.data.rows import Floats
from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal

UpdateAttack = Callable[[Floats, Floats, float, np.random.Generator], Floats]

FLIP = -5.0
SCALE = 10.0
NOISE = 10.0
INNER_PRODUCT = -1.1
# Far enough inside the bound that neither the node's rounding nor the bucket's carries an update over it.
INSIDE = 0.99


def sign_flip(_honest: Floats, own: Floats, _clip: float, _rng: np.random.Generator) -> Floats:
    """Each attacker's own update, reversed and five times as long."""
    return FLIP * own


def flip_at_bound(_honest: Floats, own: Floats, clip: float, _rng: np.random.Generator) -> Floats:
    """Each attacker's own update, reversed and stretched to the norm bound. A zero update stays zero."""
    flipped: Floats = -clip * _directions(own)
    return flipped


def scaling(_honest: Floats, own: Floats, _clip: float, _rng: np.random.Generator) -> Floats:
    """Each attacker's own update, ten times as long."""
    return SCALE * own


def noise(_honest: Floats, own: Floats, _clip: float, rng: np.random.Generator) -> Floats:
    """Normal noise, independent for each attacker, about ten times as long as its own update."""
    length = np.linalg.norm(own, axis=1, keepdims=True) / np.sqrt(max(1, own.shape[1]))
    drawn: Floats = NOISE * length * rng.standard_normal(own.shape)
    return drawn


def alie(honest: Floats, own: Floats, _clip: float, _rng: np.random.Generator) -> Floats:
    """mean - z·std of the honest updates by coordinate, from all attackers alike, with z of `alie_deviation`.

    "A little is enough": M. Baruch, G. Baruch and Y. Goldberg, NeurIPS 2019.
    """
    z = alie_deviation(len(honest) + len(own), len(own))
    return within_spread(honest, own, z)


def within_spread(honest: Floats, own: Floats, z: float) -> Floats:
    """mean - z·std of the honest updates, std with h - 1 in its divisor; as many rows as `own`."""
    mean, std = _moments(honest)
    return _alike(mean - z * std, own)


def alie_deviation(nodes: int, attackers: int) -> float:
    """z of ALIE: the furthest that honest sites enough for a majority with the attackers lie beyond, where
    updates are normal. Phi(z) = (n - f - s) / (n - f) with s = floor(n/2 + 1) - f; 0 without attackers
    enough to make a difference, or where they are the majority already.
    """
    honest, supporters = nodes - attackers, nodes // 2 + 1 - attackers
    if not 0 < supporters < honest:
        return 0.0
    return max(0.0, NormalDist().inv_cdf((honest - supporters) / honest))


def inner_product(honest: Floats, own: Floats, _clip: float, _rng: np.random.Generator) -> Floats:
    """-1.1 times the honest mean, from all attackers alike: the mean's product with it turns negative where
    attackers are many. "Fall of empires": C. Xie, O. Koyejo and I. Gupta, UAI 2019.
    """
    return _alike(INNER_PRODUCT * _moments(honest)[0], own)


def min_max(honest: Floats, own: Floats, _clip: float, _rng: np.random.Generator) -> Floats:
    """mean - g·std of the honest updates, g as large as leaves no honest update further away than two honest
    updates are from each other. "Manipulating the byzantine": V. Shejwalkar and A. Houmansadr, NDSS 2021.

    |m - g·s - u_i| <= D is a quadratic in g for every i, so the largest g is solved for and not searched.
    """
    mean, std = _moments(honest)
    length = float(std @ std)
    if length == 0.0:
        return _alike(mean, own)
    from_mean = mean - honest
    along, inside = from_mean @ std, np.square(from_mean).sum(axis=1) - _diameter_squared(honest)
    # inside <= 0 by the triangle inequality: the mean of the honest is within their diameter of each.
    roots = (along + np.sqrt(np.maximum(along**2 - length * inside, 0.0))) / length
    return _alike(mean - roots.min() * std, own)


def edge(honest: Floats, own: Floats, clip: float, _rng: np.random.Generator) -> Floats:
    """Against the honest mean, just inside the norm bound, from all attackers alike."""
    return _alike(-INSIDE * clip * _directions(_moments(honest)[0][None, :])[0], own)


def _moments(honest: Floats) -> tuple[Floats, Floats]:
    """Mean (d,) and sample standard deviation (d,); with a single honest update the deviation is 0."""
    if not len(honest):
        raise CallerFault(Refusal.OUT_OF_RANGE, "an attack on honest updates needs at least one")
    std = honest.std(axis=0, ddof=1) if len(honest) > 1 else np.zeros(honest.shape[1])
    return honest.mean(axis=0), std


def _diameter_squared(honest: Floats) -> float:
    """The largest squared distance between two rows, centred first so that close rows keep their digits."""
    centred = honest - honest.mean(axis=0)
    gram = centred @ centred.T
    own = np.diagonal(gram)
    return float(np.max(own[:, None] + own[None, :] - 2 * gram))


def _directions(rows: Floats) -> Floats:
    """Every row at length 1; zero rows stay zero."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    directions: Floats = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return directions


def _alike(row: Floats, own: Floats) -> Floats:
    return np.tile(row, (len(own), 1))
