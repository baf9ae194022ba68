"""Ring words of 8 to 32 bits, packed on the wire without gaps (docs/PROTOCOL.md, "Vector").

Word i takes bits [i b, (i + 1) b) of the payload, where bit j is bit j % 8 of byte j // 8; unused bits of the
last byte are zero. So lcm(b, 32) bits are a group of whole words on both sides, and a group's columns are
shifted and merged for a whole block at once. Columns are made contiguous first: strided shifts cost twice.
"""

from collections.abc import Iterable
from enum import Enum
from math import gcd
from typing import Final

import numpy as np
from numpy.typing import NDArray

from crimson_protocol.errors import CallerFault, PeerFault
from crimson_protocol.refusal import Refusal

Words = NDArray[np.uint32]

WORD: Final = np.dtype("<u4")
WORD_BITS = 32
BLOCK_WORDS = 1 << 16
"""Words handled at a time: 256 KiB, which stays in the cache with its packed form."""


class Into(Enum):
    """What unpacked words do to the target, modulo 2^32."""

    WRITE = "write"
    ADD = "add"
    SUBTRACT = "subtract"


def packed_length(count: int, bits: int) -> int:
    """Bytes of `count` packed words."""
    _check_bits(bits)
    return -(-count * bits // 8)


def pack(words: Words, bits: int) -> memoryview:
    """The low `bits` of every word, packed; a read-only view of bytes.

    32 bits are a view of `words` itself; otherwise one buffer of the packed size is made.
    """
    _check_bits(bits)
    _check_words(words)
    if not words.size:
        return memoryview(b"")
    if bits == WORD_BITS:
        return words.data.cast("B").toreadonly()
    group, columns = _group(bits)
    groups = -(-words.size // group)
    packed = np.empty((groups, columns), WORD)
    scratch = _Scratch(bits)
    whole = words.size // group
    for start in range(0, whole, scratch.groups):
        stop = min(start + scratch.groups, whole)
        scratch.pack(words[start * group : stop * group].reshape(-1, group), packed[start:stop])
    if whole < groups:
        tail = np.zeros(group, WORD)
        tail[: words.size - whole * group] = words[whole * group :]
        scratch.pack(tail.reshape(1, group), packed[whole:])
    return packed.reshape(-1).data.cast("B")[: packed_length(words.size, bits)].toreadonly()


def unpack_into(chunks: Iterable[bytes | memoryview], target: Words, bits: int, into: Into) -> None:
    """Feed a whole payload, in pieces of any sizes, to an `Unpacker` and finish it."""
    unpacker = Unpacker(target, bits, into)
    for chunk in chunks:
        unpacker.feed(chunk)
    unpacker.finish()


class Unpacker:
    """Unpacks one payload into `target` as its bytes arrive; memory does not grow with the payload.

    The length is known from the target, so one byte too many is refused before it is used. A refused or
    unfinished payload has already changed the target; whoever adds into a sum compares the announced
    length first, and takes back what was fed by unpacking the same bytes with the opposite sign.
    """

    def __init__(self, target: Words, bits: int, into: Into) -> None:
        _check_bits(bits)
        _check_words(target)
        if not target.flags.writeable:
            raise CallerFault(Refusal.MALFORMED, "the target of unpacking must be writable")
        self._target = target
        self._into = into
        self._scratch = _Scratch(bits)
        self._group, self._columns = _group(bits)
        self._padding = -target.size * bits % 8
        self._bytes_left = packed_length(target.size, bits)
        self._words_done = 0
        self._block = np.zeros((self._scratch.groups, self._columns), WORD)
        self._staged = self._block.reshape(-1).data.cast("B")
        self._filled = 0

    def feed(self, chunk: bytes | memoryview) -> None:
        """Take the next bytes. Raises PeerFault WRONG_LENGTH, NOT_CANONICAL (padding bits not zero)."""
        if not chunk:
            return
        view = memoryview(chunk).cast("B")
        if len(view) > self._bytes_left:
            raise PeerFault(Refusal.WRONG_LENGTH, "the packed vector is longer than announced")
        if self._padding and len(view) == self._bytes_left and view[-1] >> (8 - self._padding):
            raise PeerFault(Refusal.NOT_CANONICAL, "padding bits of the packed vector are not zero")
        self._bytes_left -= len(view)
        while view:
            taken = min(len(view), len(self._staged) - self._filled)
            self._staged[self._filled : self._filled + taken] = view[:taken]
            self._filled += taken
            view = view[taken:]
            if self._filled == len(self._staged):
                self._flush(self._scratch.groups)

    def finish(self) -> None:
        """The payload has ended. Raises PeerFault WRONG_LENGTH where bytes are missing."""
        if self._bytes_left:
            raise PeerFault(Refusal.WRONG_LENGTH, "the packed vector is shorter than announced")
        if self._filled:
            # Bytes of an earlier block behind the end only reach words behind the end, which are cut off.
            self._flush(-(-self._filled // (4 * self._columns)))

    def _flush(self, groups: int) -> None:
        unpacked = self._scratch.unpack(self._block[:groups])
        start = self._words_done
        stop = min(start + groups * self._group, self._target.size)
        whole = (stop - start) // self._group
        middle = start + whole * self._group
        self._merge(self._target[start:middle].reshape(whole, self._group), unpacked[:whole])
        if middle < stop:
            self._merge(self._target[middle:stop], unpacked[whole, : stop - middle])
        self._words_done = stop
        self._filled = 0

    def _merge(self, target: Words, words: Words) -> None:
        if self._into is Into.WRITE:
            np.copyto(target, words)
        elif self._into is Into.ADD:
            np.add(target, words, out=target)
        else:
            np.subtract(target, words, out=target)


class _Scratch:
    """Column buffers for one block, and the shifts between a group's words and its packed columns."""

    def __init__(self, bits: int) -> None:
        group, columns = _group(bits)
        self.groups = BLOCK_WORDS // group
        self._mask = np.uint32((1 << bits) - 1)
        self._bits = bits
        # Word i of a group starts in packed column `column` at bit `shift`; it may run over into the next.
        self._places = [divmod(i * bits, WORD_BITS) for i in range(group)]
        self._words = np.empty((group, self.groups), WORD)
        self._packed = np.empty((columns, self.groups), WORD)
        self._part = np.empty(self.groups, WORD)

    def pack(self, words: Words, packed: Words) -> None:
        """(m, group) words into (m, columns) packed words."""
        m = len(words)
        source, target, part = self._words[:, :m], self._packed[:, :m], self._part[:m]
        np.bitwise_and(words.T, self._mask, out=source)
        for word, (column, shift) in zip(source, self._places, strict=True):
            if shift == 0:
                np.copyto(target[column], word)
            else:
                # The column already holds the end of the word before.
                np.left_shift(word, shift, out=part)
                np.bitwise_or(target[column], part, out=target[column])
            if shift + self._bits > WORD_BITS:
                np.right_shift(word, WORD_BITS - shift, out=target[column + 1])
        np.copyto(packed, target.T)

    def unpack(self, packed: Words) -> Words:
        """(m, columns) packed words as a view of (m, group) words, valid until the next call."""
        if self._bits == WORD_BITS:
            return packed
        m = len(packed)
        source, target, part = self._packed[:, :m], self._words[:, :m], self._part[:m]
        np.copyto(source, packed.T)
        for word, (column, shift) in zip(target, self._places, strict=True):
            np.right_shift(source[column], shift, out=word)
            if shift + self._bits > WORD_BITS:
                np.left_shift(source[column + 1], WORD_BITS - shift, out=part)
                np.bitwise_or(word, part, out=word)
        np.bitwise_and(target, self._mask, out=target)
        return target.T


def _group(bits: int) -> tuple[int, int]:
    """(words, 32-bit packed columns) of the smallest group that ends on a column."""
    common = gcd(bits, WORD_BITS)
    return WORD_BITS // common, bits // common


def _check_bits(bits: int) -> None:
    if not 8 <= bits <= WORD_BITS:
        raise CallerFault(Refusal.OUT_OF_RANGE, "ring words have 8 to 32 bits")


def _check_words(words: Words) -> None:
    if words.dtype != WORD or words.ndim != 1 or not words.flags.c_contiguous:
        raise CallerFault(Refusal.MALFORMED, "words come as one contiguous little-endian uint32 row")
