"""The canonical codec: one encoding per value, agreement with an independent encoder, and hostile bytes."""

import datetime
import enum
import re
from collections import OrderedDict, namedtuple
from decimal import Decimal
from typing import Any
from unittest import mock

import cbor2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crimson_protocol.errors import CallerFault, PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire import cbor
from crimson_protocol.wire.prescan import prescan

CAP = 1 << 20


def refusal(data: bytes | memoryview, **limits: Any) -> Refusal:
    with pytest.raises(PeerFault) as caught:
        cbor.decode(data, **{"cap": CAP, **limits})
    return caught.value.code


def head(major: int, argument: int) -> bytes:
    """RFC 8949 section 3, written a second time."""
    if argument < 24:
        return bytes([major * 32 + argument])
    for info, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 256**width:
            return bytes([major * 32 + info]) + argument.to_bytes(width, "big")
    raise OverflowError


def reference_encode(value: Any) -> bytes:
    """RFC 8949 section 4.2.1, keys in bytewise order of their encodings."""
    match value:
        case None:
            return b"\xf6"
        case bool():
            return b"\xf5" if value else b"\xf4"
        case int():
            return head(0, value) if value >= 0 else head(1, -1 - value)
        case bytes():
            return head(2, len(value)) + value
        case str():
            return head(3, len(value.encode())) + value.encode()
        case list() | tuple():
            return head(4, len(value)) + b"".join(map(reference_encode, value))
        case dict():
            pairs = sorted((reference_encode(key), reference_encode(item)) for key, item in value.items())
            return head(5, len(value)) + b"".join(key + item for key, item in pairs)
    raise TypeError(type(value))


INTEGERS = st.one_of(
    st.integers(-(2**64), 2**64 - 1),
    st.sampled_from([s * 2**k + d for k in (0, 5, 8, 16, 32, 63) for s in (1, -1) for d in (-1, 0, 1)]),
    st.integers(-30, 30),
)
LONG = st.sampled_from(["a" * length for length in (23, 24, 255, 256)])
TEXT = st.text(st.characters(codec="utf-8"), max_size=30) | LONG
SCALARS = st.none() | st.booleans() | INTEGERS | st.binary(max_size=300) | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(TEXT, inner, max_size=6)
        | st.dictionaries(st.integers(0, 2**64 - 1) | st.integers(0, 300), inner, max_size=6)
    ),
    max_leaves=20,
)

# RFC 8949 appendix A.
APPENDIX_A = [
    (0, "00"), (23, "17"), (24, "1818"), (100, "1864"), (1000, "1903e8"), (1000000, "1a000f4240"),
    (1000000000000, "1b000000e8d4a51000"), (18446744073709551615, "1bffffffffffffffff"),
    (-18446744073709551616, "3bffffffffffffffff"), (-1, "20"), (-10, "29"), (-100, "3863"), (-1000, "3903e7"),
    (False, "f4"), (True, "f5"), (None, "f6"), (b"", "40"), (b"\1\2\3\4", "4401020304"), ("", "60"),
    ("a", "6161"), ("IETF", "6449455446"), ('"\\', "62225c"), ("ü", "62c3bc"), ("水", "63e6b0b4"),
    ("\U00010151", "64f0908591"), ([], "80"), ([1, 2, 3], "83010203"),
    ([1, [2, 3], [4, 5]], "8301820203820405"), ({}, "a0"), ({1: 2, 3: 4}, "a201020304"),
    ({"a": 1, "b": [2, 3]}, "a26161016162820203"), (["a", {"b": "c"}], "826161a161626163"),
    (list(range(1, 26)), "98190102030405060708090a0b0c0d0e0f101112131415161718181819"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "encoding"), APPENDIX_A)
def test_the_examples_of_the_rfc_both_ways(value: object, encoding: str) -> None:
    assert cbor.encode(value).hex() == encoding
    decoded = cbor.decode(bytes.fromhex(encoding), cap=CAP)
    assert (type(decoded), decoded) == (type(value), value)


@given(VALUES)
def test_encoding_agrees_with_an_independent_encoder_and_decodes_to_the_value(value: object) -> None:
    encoding = cbor.encode(value)
    assert encoding == reference_encode(value)
    assert cbor.decode(memoryview(encoding), cap=len(encoding)) == value


def test_text_keys_at_every_length_of_head_sort_as_the_rfc_says() -> None:
    lengths = [0, 1, 22, 23, 24, 25, 255, 256, 257, 65535, 65536]
    value = {letter * length: 0 for length in reversed(lengths) for letter in "zaé"}
    assert cbor.encode(value) == reference_encode(value)


def test_a_tuple_is_an_array_and_one_object_in_two_places_is_written_twice() -> None:
    shared = (1,)
    assert cbor.encode([shared, shared]).hex() == "8281018101"
    assert cbor.decode(cbor.encode((1, (2,))), cap=CAP) == [1, [2]]


Pair = namedtuple("Pair", "left right")
Word = enum.StrEnum("Word", ["HELLO"])
Number = enum.IntEnum("Number", ["ONE"])


@pytest.mark.parametrize(
    "value",
    [
        0.0, 1.5, float("nan"), float("inf"), 1j, 2**64, -(2**64) - 1, 2**200, Decimal(1), {1}, frozenset(),
        bytearray(b"x"), memoryview(b"x"), np.int64(1), np.float32(1), np.zeros(2), object(), re.compile("a"),
        datetime.date(2000, 1, 1), cbor2.CBORTag(1, 0), cbor2.undefined, cbor2.CBORSimpleValue(1), "\ud800",
        {"\udfff": 1}, Pair(1, 2), Word.HELLO, Number.ONE, OrderedDict(), {1: 1, "a": 1}, {-1: 1},
        {2**64: 1}, {b"a": 1}, {None: 1}, {True: 1}, {1.0: 1}, {(1,): 1}, [1, [2.0]], {"a": {"b": 1.0}},
        range(3), iter([1]),
    ],
    ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", repr(value)),
)  # fmt: skip
def test_refuses_to_encode_anything_else(value: object) -> None:
    with pytest.raises(CallerFault):
        cbor.encode(value)


def nested(depth: int) -> list[Any]:
    return [nested(depth - 1)] if depth > 1 else []


def test_encoding_and_decoding_have_the_same_depth_limit() -> None:
    assert cbor.decode(cbor.encode(nested(16)), cap=CAP) == nested(16)
    assert refusal(b"\x81" * 16 + b"\x80") is Refusal.TOO_LARGE
    cycle: list[Any] = []
    cycle.append(cycle)
    for value in (nested(17), cycle):
        with pytest.raises(CallerFault):
            cbor.encode(value)
    with pytest.raises(CallerFault):
        cbor.decode(b"\x00", cap=CAP, max_depth=17)


ATTACKS = {
    Refusal.MALFORMED: [
        "a201020103", "a2616101616102", "81a3010202030104",  # a key twice
        "61ff", "62c328", "62c080", "a161ff00",  # text that is not UTF-8
        "63eda080", "64f4908080",  # a surrogate; beyond U+10FFFF
        "c249010000000000000000", "c24101", "d82363612b2b",  # bignums; a regular expression
        "f97e00", "f90000", "fb3ff0000000000000", "f7",  # NaN, other floats, undefined
        "0000", "", "5a40000000",  # a trailing byte; nothing; 1 GB declared
    ],
    Refusal.NOT_CANONICAL: [
        "a202010102", "a2616201616102", "a1617aa202010102",  # keys in another order
        "a262616101616202",  # alphabetical instead of shorter first
        "1817", "190001", "580101",  # heads in too many bytes
        "9fff", "7f6161ff",  # indefinite lengths
    ],
}  # fmt: skip


@pytest.mark.parametrize(("sample", "code"), [(hexed, code) for code in ATTACKS for hexed in ATTACKS[code]])
def test_attacks_are_refused_by_code(sample: str, code: Refusal) -> None:
    assert refusal(bytes.fromhex(sample)) is code
    assert refusal(memoryview(bytes.fromhex(sample))) is code


def test_long_text_is_checked_across_the_decoder_s_chunks() -> None:
    for start in range(4):
        text = "a" * start + "水" * 50_000
        assert cbor.decode(cbor.encode(text), cap=CAP) == text
        assert refusal(cbor.encode(text)[:-1] + b"\xff") is Refusal.MALFORMED


def test_nothing_reaches_the_decoder_that_the_scan_refuses() -> None:
    with mock.patch.object(cbor2, "loads", side_effect=AssertionError) as loads:
        for sample in ("d82363612b2b", "f97e00", "5a40000000", "81" * 40, "0000", "9fff", "1800"):
            refusal(bytes.fromhex(sample))
        refusal(bytes(CAP + 1))
    assert not loads.called


def test_whatever_the_decoder_raises_is_the_sender_s_fault_but_for_our_lack_of_memory() -> None:
    for error in (cbor2.CBORDecodeError, ValueError, TypeError, RecursionError, OverflowError):
        with mock.patch.object(cbor2, "loads", side_effect=error("x")):
            assert refusal(b"\x00") is Refusal.MALFORMED
    with mock.patch.object(cbor2, "loads", side_effect=MemoryError), pytest.raises(MemoryError):
        cbor.decode(b"\x00", cap=CAP)


def test_an_oversized_view_is_refused_without_a_copy_of_it() -> None:
    big = memoryview(bytearray(1 << 22))
    with mock.patch.object(cbor, "prescan", wraps=prescan) as scan:
        assert refusal(big, cap=100) is Refusal.TOO_LARGE
    assert len(scan.call_args.args[0]) == 101


def test_limits_and_simple_values_are_passed_on() -> None:
    assert refusal(b"\xf6", simple=frozenset()) is Refusal.MALFORMED
    assert refusal(b"\x82\0\0", max_items=2) is Refusal.TOO_LARGE
    assert refusal(b"\x81\x80", max_depth=1) is Refusal.TOO_LARGE


def decodes_or_is_refused(data: bytes) -> None:
    try:
        value = cbor.decode(data, cap=CAP)
    except PeerFault:
        return
    assert cbor.encode(value) == data
    assert reference_encode(value) == data


@settings(max_examples=1000)
@given(st.binary(max_size=64))
def test_any_bytes_decode_to_themselves_or_are_refused(data: bytes) -> None:
    decodes_or_is_refused(data)


HEADS = st.builds(head, st.integers(0, 7), st.integers(0, 40) | st.integers(0, 2**64 - 1))
PIECES = st.sampled_from([b"a", b"\xc3\xbc", b"\xf6", b"\xff", b"\xa2", b"\x82", b"\x61a", b"\0"])


@settings(max_examples=1000)
@given(st.lists(HEADS | PIECES, max_size=12).map(b"".join))
def test_any_run_of_heads_decodes_to_itself_or_is_refused(data: bytes) -> None:
    decodes_or_is_refused(data)


@settings(max_examples=500)
@given(VALUES, st.data())
def test_a_changed_encoding_decodes_to_itself_or_is_refused(value: object, data: st.DataObject) -> None:
    encoding = bytearray(cbor.encode(value))
    at = data.draw(st.integers(0, len(encoding) - 1))
    encoding[at] ^= data.draw(st.integers(1, 255))
    decodes_or_is_refused(bytes(encoding))
    decodes_or_is_refused(bytes(encoding[:at]))
