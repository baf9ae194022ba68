"""Secret sharing: any threshold rebuilds, one share less says nothing, nothing secret reaches an error."""

from collections import Counter
from collections.abc import Iterator
from itertools import combinations, product
from random import Random

import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from crimson_protocol.entropy import Entropy
from crimson_protocol.errors import CallerFault, PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret import shamir
from crimson_protocol.secret.shamir import PRIME, combine, split

secrets = st.integers(0, PRIME - 1).map(lambda number: number.to_bytes(32, "big"))


def seeded(seed: int) -> Entropy:
    return Random(seed).randbytes


def recorded(*numbers: int) -> Entropy:
    """Draws exactly these numbers, in turn."""
    left = iter(numbers)
    return lambda length: next(left).to_bytes(length, "big")


def test_modulus_is_the_largest_prime_below_two_to_the_256() -> None:
    assert PRIME == 2**256 - 189
    assert sympy.isprime(PRIME)
    assert sympy.prevprime(2**256) == PRIME


@given(secrets, st.data())
def test_any_threshold_of_shares_rebuilds(secret: bytes, data: st.DataObject) -> None:
    xs = data.draw(st.lists(st.integers(1, 2000), min_size=2, max_size=30, unique=True))
    threshold = data.draw(st.integers(2, len(xs)))
    shares = split(secret, threshold, xs, seeded(len(xs)))
    assert list(shares) == xs
    assert all(len(share) == 32 for share in shares.values())
    chosen = data.draw(st.lists(st.sampled_from(xs), min_size=threshold, max_size=len(xs), unique=True))
    assert combine({x: shares[x] for x in chosen}) == secret


def test_every_subset_of_a_small_dealing() -> None:
    secret = bytes(range(32))
    shares = split(secret, 3, range(1, 7), seeded(1))
    for size in range(3, 7):
        for chosen in combinations(shares, size):
            assert combine({x: shares[x] for x in chosen}) == secret
    for chosen in combinations(shares, 2):
        assert combine({x: shares[x] for x in chosen}) != secret


def test_shares_are_the_polynomial_with_the_drawn_coefficients() -> None:
    secret = (5).to_bytes(32, "big")
    # Highest power first: 3 x^2 + 4 x + 5.
    shares = split(secret, 3, (1, 2, 10), recorded(3, 4))
    assert {x: int.from_bytes(share, "big") for x, share in shares.items()} == {1: 12, 2: 25, 10: 345}


@pytest.fixture
def tiny_field(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(shamir, "PRIME", 7)
    shamir._weights_at_zero.cache_clear()
    yield 7
    shamir._weights_at_zero.cache_clear()


def test_fewer_shares_carry_no_information(tiny_field: int) -> None:
    """Over all coefficients of a tiny field, t - 1 shares take every value once, whatever the secret."""
    for watched in combinations((1, 3, 4, 6), 2):
        for secret in range(tiny_field):
            views: Counter[tuple[bytes, ...]] = Counter()
            for drawn in product(range(tiny_field), repeat=2):
                shares = split(secret.to_bytes(32, "big"), 3, (1, 3, 4, 6), recorded(*drawn))
                views[tuple(shares[x] for x in watched)] += 1
                assert combine(dict(list(shares.items())[:3])) == secret.to_bytes(32, "big")
            assert len(views) == tiny_field**2
            assert set(views.values()) == {1}


def test_coefficients_are_rejected_not_reduced() -> None:
    secret = (1).to_bytes(32, "big")
    rejecting = split(secret, 2, (1, 2), recorded(PRIME, 2**256 - 1, PRIME - 1))
    assert rejecting == split(secret, 2, (1, 2), recorded(PRIME - 1))


def test_zero_coefficients_are_allowed() -> None:
    secret = (9).to_bytes(32, "big")
    assert set(split(secret, 2, (1, 2), recorded(0)).values()) == {secret}


@pytest.mark.parametrize(
    ("secret", "threshold", "xs"),
    [
        (bytes(31), 2, (1, 2)),
        (bytes(33), 2, (1, 2)),
        (PRIME.to_bytes(32, "big"), 2, (1, 2)),
        (bytes(32), 1, (1, 2)),
        (bytes(32), 3, (1, 2)),
        (bytes(32), 2, (1, 1)),
        (bytes(32), 2, (0, 1)),
        (bytes(32), 2, (1, PRIME)),
        (bytes(32), 2, ()),
    ],
)
def test_unusable_dealings(secret: bytes, threshold: int, xs: tuple[int, ...]) -> None:
    with pytest.raises(CallerFault):
        split(secret, threshold, xs, seeded(1))


def test_short_entropy_is_refused() -> None:
    with pytest.raises(CallerFault):
        split(bytes(32), 2, (1, 2), lambda length: bytes(length - 1))


def test_unusable_shares() -> None:
    for share, code in (
        (bytes(31), Refusal.WRONG_LENGTH),
        (bytes(33), Refusal.WRONG_LENGTH),
        (PRIME.to_bytes(32, "big"), Refusal.NOT_CANONICAL),
        (b"\xff" * 32, Refusal.NOT_CANONICAL),
    ):
        with pytest.raises(PeerFault) as refused:
            combine({1: bytes(32), 2: share})
        assert refused.value.code is code
    for places in ((), (0, 1), (1, PRIME), (-1, 1)):
        with pytest.raises(CallerFault):
            combine({x: bytes(32) for x in places})


def test_errors_do_not_tell_the_secret() -> None:
    secret = (PRIME + 7).to_bytes(32, "big")
    with pytest.raises(CallerFault) as refused:
        split(secret, 2, (1, 2), seeded(1))
    told = repr(refused.value) + str(refused.value) + refused.value.text
    assert str(PRIME + 7) not in told
    assert secret.hex() not in told
    assert "0xff" not in told
    assert repr(secret) not in told
