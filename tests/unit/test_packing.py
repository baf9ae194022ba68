"""Packed ring words against one big integer, in pieces of any size, for every width."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from crimson_protocol.errors import CallerFault, PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.packing import BLOCK_WORDS, Into, Unpacker, pack, packed_length, unpack_into

Words = NDArray[np.uint32]
ALL_BITS = range(8, 33)
widths = st.sampled_from(list(ALL_BITS))
word_lists = st.lists(st.integers(0, 2**32 - 1), max_size=90)


def random_words(count: int, seed: int = 1) -> Words:
    return np.random.default_rng(seed).integers(0, 2**32, count, dtype=np.uint32)


def low(words: Words, bits: int) -> Words:
    return words & np.uint32((1 << bits) - 1)


def cut(payload: memoryview, sizes: list[int]) -> list[memoryview]:
    """Pieces of the given sizes in turn, over and over."""
    pieces, start = [], 0
    while start < len(payload):
        for size in sizes:
            pieces.append(payload[start : start + size])
            start += size
    return pieces


@given(word_lists, widths)
def test_pack_is_one_big_little_endian_integer(numbers: list[int], bits: int) -> None:
    whole = sum((number % (1 << bits)) << (bits * place) for place, number in enumerate(numbers))
    length = (len(numbers) * bits + 7) // 8
    payload = pack(np.array(numbers, np.uint32), bits)
    assert payload.readonly
    assert packed_length(len(numbers), bits) == len(payload) == length
    assert bytes(payload) == whole.to_bytes(length, "little")


@given(word_lists, widths, st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_unpack_takes_pieces_of_any_size(numbers: list[int], bits: int, sizes: list[int]) -> None:
    words = np.array(numbers, np.uint32)
    payload = pack(words, bits)
    start = random_words(words.size, seed=2)
    for into, expected in (
        (Into.WRITE, low(words, bits)),
        (Into.ADD, start + low(words, bits)),
        (Into.SUBTRACT, start - low(words, bits)),
    ):
        target = start.copy()
        unpack_into(cut(payload, sizes), target, bits, into)
        assert np.array_equal(target, expected)


@pytest.mark.parametrize("bits", ALL_BITS)
def test_several_blocks(bits: int) -> None:
    for count in (BLOCK_WORDS, 2 * BLOCK_WORDS + 37):
        words = random_words(count)
        columns = np.unpackbits(words.view(np.uint8), bitorder="little").reshape(-1, 32)[:, :bits]
        expected = np.packbits(columns.reshape(-1), bitorder="little").tobytes()
        payload = pack(words, bits)
        assert bytes(payload) == expected
        target = np.zeros(count, np.uint32)
        unpack_into(cut(payload, [262144, 1, 99999]), target, bits, Into.ADD)
        assert np.array_equal(target, low(words, bits))


def test_32_bits_are_a_view() -> None:
    words = random_words(100)
    payload = pack(words, 32)
    words[0] = 0x04030201
    assert bytes(payload[:4]) == b"\1\2\3\4"


@pytest.mark.parametrize("bits", ALL_BITS)
def test_wrong_lengths_are_refused(bits: int) -> None:
    words = random_words(13)
    payload = bytes(pack(words, bits))
    for wrong in (payload[:-1], payload + b"\0", b"", payload + payload):
        for pieces in ([wrong], [wrong[:5], wrong[5:]]):
            with pytest.raises(PeerFault) as refused:
                unpack_into(pieces, np.zeros(13, np.uint32), bits, Into.WRITE)
            assert refused.value.code is Refusal.WRONG_LENGTH


def test_a_byte_too_many_is_refused_before_it_is_used() -> None:
    target = np.zeros(4, np.uint32)
    unpacker = Unpacker(target, 8, Into.WRITE)
    unpacker.feed(b"\1\2\3\4")
    with pytest.raises(PeerFault):
        unpacker.feed(b"\5")
    unpacker.finish()
    assert list(target) == [1, 2, 3, 4]


@pytest.mark.parametrize("bits", [bits for bits in ALL_BITS if bits % 8])
def test_padding_bits_must_be_zero(bits: int) -> None:
    payload = bytearray(pack(random_words(3), bits))
    for bit in range(3 * bits % 8 or 8, 8):
        changed = bytearray(payload)
        changed[-1] |= 1 << bit
        for pieces in ([bytes(changed)], [bytes(changed[:-1]), bytes(changed[-1:]), b""]):
            with pytest.raises(PeerFault) as refused:
                unpack_into(pieces, np.zeros(3, np.uint32), bits, Into.ADD)
            assert refused.value.code is Refusal.NOT_CANONICAL


def test_opposite_sign_takes_a_payload_back() -> None:
    target = random_words(1000, seed=3)
    before = target.copy()
    payload = pack(random_words(1000), 20)
    unpack_into([payload], target, 20, Into.ADD)
    unpack_into([payload], target, 20, Into.SUBTRACT)
    assert np.array_equal(target, before)


def test_memory_stays_at_the_packed_size() -> None:
    words, target = random_words(3_000_000), np.zeros(3_000_000, np.uint32)
    tracemalloc.start()
    try:
        payload = pack(words, 20)
        assert tracemalloc.get_traced_memory()[1] < len(payload) + 2**20
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        unpack_into([payload], target, 20, Into.ADD)
        assert tracemalloc.get_traced_memory()[1] - held < 2**21
    finally:
        tracemalloc.stop()


def test_callers_mistakes() -> None:
    words = random_words(8)
    frozen = words.copy()
    frozen.flags.writeable = False
    for bits in (7, 33, 0):
        with pytest.raises(CallerFault):
            pack(words, bits)
        with pytest.raises(CallerFault):
            packed_length(8, bits)
        with pytest.raises(CallerFault):
            Unpacker(words, bits, Into.ADD)
    unfit: Any
    for unfit in (words[::2], words.reshape(2, 4), words.astype(np.int32), words.astype(">u4")):
        with pytest.raises(CallerFault):
            pack(unfit, 20)
        with pytest.raises(CallerFault):
            Unpacker(unfit, 20, Into.ADD)
    with pytest.raises(CallerFault):
        Unpacker(frozen, 20, Into.ADD)
