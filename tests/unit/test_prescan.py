"""The walk over CBOR heads: what it lets through, and each thing it refuses, by code."""

import time
import tracemalloc

import pytest

from crimson_protocol.errors import CallerFault, PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.prescan import FALSE, NULL, TRUE, prescan

CAP = 1 << 20


def scan(data: str | bytes, **limits: object) -> None:
    raw = bytes.fromhex(data) if isinstance(data, str) else data
    prescan(raw, **{"cap": CAP, **limits})  # type: ignore[arg-type]


def refusal(data: str | bytes, **limits: object) -> Refusal:
    with pytest.raises(PeerFault) as caught:
        scan(data, **limits)
    assert caught.value.culprit is None
    return caught.value.code


# RFC 8949 appendix A, the examples inside the profile.
APPENDIX_A_ACCEPTED = [
    "00", "01", "0a", "17", "1818", "1819", "1864", "1903e8", "1a000f4240", "1b000000e8d4a51000",
    "1bffffffffffffffff", "3bffffffffffffffff", "20", "29", "3863", "3903e7", "f4", "f5", "f6", "40",
    "4401020304", "60", "6161", "6449455446", "62225c", "62c3bc", "63e6b0b4", "64f0908591", "80", "83010203",
    "8301820203820405", "98190102030405060708090a0b0c0d0e0f101112131415161718181819", "a0", "a201020304",
    "a26161016162820203", "826161a161626163", "a56161614161626142616361436164614461656145",
]  # fmt: skip

# RFC 8949 appendix A, the examples outside it.
APPENDIX_A_REFUSED = {
    "bignum": ["c249010000000000000000", "c349010000000000000000"],
    "half": ["f90000", "f98000", "f93c00", "f93e00", "f97bff", "f90001", "f90400", "f9c400"],
    "single": ["fa47c35000", "fa7f7fffff"],
    "double": ["fb3ff199999999999a", "fb7e37e43c8800759c", "fbc010666666666666"],
    "infinity": ["f97c00", "f9fc00", "fa7f800000", "faff800000", "fb7ff0000000000000", "fbfff0000000000000"],
    "nan": ["f97e00", "fa7fc00000", "fb7ff8000000000000"],
    "simple": ["f7", "f0", "f818", "f8ff"],
    "tag": [
        "c074323031332d30332d32315432303a30343a30305a", "c11a514b67b0", "c1fb41d452d9ec200000",
        "d74401020304", "d818456449455446", "d82076687474703a2f2f7777772e6578616d706c652e636f6d",
    ],
}  # fmt: skip
APPENDIX_A_INDEFINITE = [
    "5f42010243030405ff", "7f657374726561646d696e67ff", "9fff", "9f018202039f0405ffff", "83018202039f0405ff",
    "bf61610161629f0203ffff", "826161bf61626163ff", "bf6346756ef563416d7421ff",
]  # fmt: skip


@pytest.mark.parametrize("sample", APPENDIX_A_ACCEPTED)
def test_accepts_the_examples_of_the_rfc_inside_the_profile(sample: str) -> None:
    scan(sample)
    prescan(memoryview(bytes.fromhex(sample)), cap=CAP)


@pytest.mark.parametrize("sample", [s for group in APPENDIX_A_REFUSED.values() for s in group])
def test_refuses_the_examples_of_the_rfc_outside_the_profile(sample: str) -> None:
    assert refusal(sample) is Refusal.MALFORMED
    assert refusal("81" + sample) is Refusal.MALFORMED
    assert refusal("a101" + sample) is Refusal.MALFORMED


@pytest.mark.parametrize("sample", APPENDIX_A_INDEFINITE)
def test_refuses_indefinite_lengths(sample: str) -> None:
    assert refusal(sample) is Refusal.NOT_CANONICAL


# RFC 8949 appendix F, encodings that are not well-formed.
@pytest.mark.parametrize(
    "sample",
    [
        "", "18", "19", "1a", "1b", "1901", "1a0102", "1b01020304050607", "38", "58", "78", "98", "9a01ff00",
        "b8", "d8", "f8", "f900", "fa0000", "fb000000",  # the end inside a head
        "41", "61", "5affffffff00", "5bffffffffffffffff010203", "7affffffff00", "7b7fffffffffffffff010203",
        "81", "818181818181818181", "8200", "a1", "a20102", "a100", "a2000000",  # the end before the items do
        "1c", "1d", "1e", "3c", "3d", "3e", "5c", "5d", "5e", "7c", "7d", "7e", "9c", "9d", "9e", "bc", "bd",
        "be", "dc", "dd", "de", "fc", "fd", "fe",  # reserved additional information
        "1f", "3f", "df", "ff", "81ff", "8200ff", "a1ff", "a1ff00", "a100ff",  # break or indefinite misplaced
        "f800", "f801", "f814", "f817", "f81f",  # simple values in two bytes below 32
    ],
)  # fmt: skip
def test_refuses_what_is_not_well_formed(sample: str) -> None:
    assert refusal(sample) is Refusal.MALFORMED


@pytest.mark.parametrize("major", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("longer", ["1800", "1817", "190000", "1900ff", "1a0000ffff", "1b00000000ffffffff"])
def test_refuses_heads_longer_than_needed(major: int, longer: str) -> None:
    head = bytearray.fromhex(longer)
    head[0] |= major << 5
    assert refusal(bytes(head)) is Refusal.NOT_CANONICAL


@pytest.mark.parametrize(
    "shortest", ["17", "1818", "18ff", "190100", "19ffff", "1a00010000", "1b0000000100000000"]
)
def test_accepts_the_shortest_head_at_each_boundary(shortest: str) -> None:
    scan(shortest)


@pytest.mark.parametrize("after", ["00", "f6", "ff", "0000", "80"])
def test_refuses_bytes_after_the_item(after: str) -> None:
    for sample in ("00", "80", "a10102", "4101"):
        assert refusal(sample + after) is Refusal.MALFORMED


def test_the_cap_is_the_last_size_allowed() -> None:
    sample = b"\x58\x64" + bytes(100)
    scan(sample, cap=102)
    assert refusal(sample, cap=101) is Refusal.TOO_LARGE


def test_the_depth_limit_is_the_last_depth_allowed() -> None:
    scan("81" * 16 + "00")
    scan("81" * 15 + "80")
    assert refusal("81" * 17 + "00") is Refusal.TOO_LARGE
    assert refusal("a100" * 17 + "00") is Refusal.TOO_LARGE
    scan("00", max_depth=0)
    assert refusal("80", max_depth=0) is Refusal.TOO_LARGE


def test_closed_containers_do_not_count_as_depth() -> None:
    scan("83" + "8100" * 3, max_depth=2)
    scan("98c8" + "80" * 200, max_depth=2)


def test_the_item_limit_is_the_last_count_allowed() -> None:
    scan("83010203", max_items=4)
    assert refusal("83010203", max_items=3) is Refusal.TOO_LARGE
    scan("a201020304", max_items=5)
    assert refusal("a201020304", max_items=4) is Refusal.TOO_LARGE
    assert refusal("8281008100", max_items=4) is Refusal.TOO_LARGE


def test_only_the_simple_values_named_are_allowed() -> None:
    for number, sample in ((FALSE, "f4"), (TRUE, "f5"), (NULL, "f6")):
        scan(sample, simple=frozenset({number}))
        assert refusal(sample, simple=frozenset({FALSE, TRUE, NULL} - {number})) is Refusal.MALFORMED
    assert refusal("f6", simple=frozenset()) is Refusal.MALFORMED


def test_nothing_but_false_true_and_null_can_be_allowed() -> None:
    for number in (23, 24, 25, 26, 27, 31, 32):
        with pytest.raises(CallerFault):
            scan("00", simple=frozenset({FALSE, number}))


@pytest.mark.parametrize(
    "sample",
    [
        "a12001",  # a negative key
        "a1410101",  # a byte-string key
        "a1f401", "a1f601",  # a simple value as key
        "a18001", "a1a001",  # a container as key
        "a20101616102", "a26161010102",  # both kinds
        "a101a20101616102",  # both kinds, further in
        "a1c2410101", "a1f93c0001",  # a tag or a float as key
    ],
)  # fmt: skip
def test_map_keys_are_all_unsigned_or_all_text(sample: str) -> None:
    assert refusal(sample) is Refusal.MALFORMED


def test_each_map_has_its_own_kind_of_key() -> None:
    scan("a101a1616102")
    scan("82a10101a1616102")
    scan("a201a161610203a1616204")


def test_values_may_be_of_any_kind() -> None:
    scan("a60120024101036161048005a006f4")


# Attack catalogue: bombs are refused at once and without memory.


@pytest.mark.parametrize(
    ("bomb", "code"),
    [
        (bytes.fromhex("5a40000000"), Refusal.MALFORMED),  # 1 GB of bytes declared
        (bytes.fromhex("7a40000000"), Refusal.MALFORMED),
        (bytes.fromhex("9a40000000"), Refusal.MALFORMED),  # 2^30 items declared
        (bytes.fromhex("ba40000000"), Refusal.MALFORMED),
        (bytes.fromhex("9bffffffffffffffff"), Refusal.MALFORMED),
        (bytes.fromhex("bbffffffffffffffff"), Refusal.MALFORMED),
        (b"\x81" * 1_000_000, Refusal.TOO_LARGE),  # nesting
        (b"\xa1\x00" * 500_000, Refusal.TOO_LARGE),
        (b"\x9a\x00\x0f\x00\x00" + bytes(0xF0000), Refusal.TOO_LARGE),  # a million small items
        (b"\xd8\x23" + b"\x69(a+)+(b+)$", Refusal.MALFORMED),  # tag 35: a regular expression
        (bytes.fromhex("c4821b7fffffffffffffff01"), Refusal.MALFORMED),  # tag 4: a huge power of ten
        (bytes.fromhex("d81c81d81d00"), Refusal.MALFORMED),  # tags 28, 29: a list that holds itself
    ],
)
def test_bombs_are_refused_at_once_and_without_memory(bomb: bytes, code: Refusal) -> None:
    tracemalloc.start()
    began = time.perf_counter()
    try:
        assert refusal(bomb) is code
        elapsed, (_, peak) = time.perf_counter() - began, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert elapsed < 0.5
    assert peak < 100_000
