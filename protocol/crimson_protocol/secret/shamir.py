"""Shamir sharing of one 32-byte secret over the integers modulo p = 2^256 - 189 (docs/PROTOCOL.md, "Keys").

A share is the value, at the holder's x, of a polynomial of degree t - 1 whose value at 0 is the secret and
whose other coefficients are uniform, zero included: any t - 1 shares fit every secret equally well.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod

from crimson_protocol.entropy import Entropy
from crimson_protocol.errors import CallerFault, PeerFault
from crimson_protocol.refusal import Refusal

PRIME = 2**256 - 189
LENGTH = 32
"""Bytes of a secret and of a share, big-endian."""


def split(secret: bytes, threshold: int, xs: Sequence[int], entropy: Entropy) -> dict[int, bytes]:
    """Shares of `secret` by x, any `threshold` of which rebuild it.

    xs: distinct, in [1, p). threshold: in [2, len(xs)]; 1 would hand out the secret itself.
    Raises CallerFault, also for a secret >= p: a random one is, with probability below 2^-248.
    """
    _check_places(xs)
    if not 2 <= threshold <= len(xs):
        raise CallerFault(Refusal.TOO_FEW_SHARES, f"a threshold of {threshold} for {len(xs)} shares")
    if len(secret) != LENGTH:
        raise CallerFault(Refusal.WRONG_LENGTH, "a shared secret has 32 bytes")
    constant = int.from_bytes(secret, "big")
    if constant >= PRIME:
        raise CallerFault(Refusal.OUT_OF_RANGE, "the secret is not below the prime")
    # Highest power first, as Horner's rule takes them.
    coefficients = [*(_uniform(entropy) for _ in range(threshold - 1)), constant]
    return {x: _evaluate(coefficients, x).to_bytes(LENGTH, "big") for x in xs}


def combine(shares: Mapping[int, bytes]) -> bytes:
    """The secret from exactly the given shares, which must be a threshold's worth or more of one dealing.

    Fewer shares, or a wrong one, give a wrong secret without notice: compare its commitment.
    Raises PeerFault for a share that is no canonical field element, CallerFault for impossible xs.
    """
    xs = tuple(sorted(shares))
    _check_places(xs)
    values = [_element(shares[x]) for x in xs]
    total = sum(weight * value for weight, value in zip(_weights_at_zero(xs), values, strict=True))
    return (total % PRIME).to_bytes(LENGTH, "big")


def _check_places(xs: Sequence[int]) -> None:
    if not xs or len(set(xs)) != len(xs) or not all(0 < x < PRIME for x in xs):
        raise CallerFault(Refusal.MALFORMED, "share places must be distinct, above 0 and below the prime")


def _uniform(entropy: Entropy) -> int:
    """A uniform field element; a draw is thrown away with probability below 2^-248."""
    while True:
        drawn = entropy(LENGTH)
        if len(drawn) != LENGTH:
            raise CallerFault(Refusal.WRONG_LENGTH, "the entropy source gave too few or too many bytes")
        number = int.from_bytes(drawn, "big")
        if number < PRIME:
            return number


def _element(share: bytes) -> int:
    if len(share) != LENGTH:
        raise PeerFault(Refusal.WRONG_LENGTH, "a share has 32 bytes")
    number = int.from_bytes(share, "big")
    if number >= PRIME:
        raise PeerFault(Refusal.NOT_CANONICAL, "a share is not below the prime")
    return number


def _evaluate(coefficients: Sequence[int], x: int) -> int:
    value = 0
    for coefficient in coefficients:
        value = (value * x + coefficient) % PRIME
    return value


@lru_cache(maxsize=128)
def _weights_at_zero(xs: tuple[int, ...]) -> tuple[int, ...]:
    """Lagrange weights for the value at 0. Public, and the same for every owner with these holders."""
    return tuple(
        prod(other for other in xs if other != x)
        * pow(prod(other - x for other in xs if other != x) % PRIME, -1, PRIME)
        % PRIME
        for x in xs
    )
