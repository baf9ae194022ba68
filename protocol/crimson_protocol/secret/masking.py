"""The hot loop: expand keystreams and add them to a vector, piece by piece, in place.

One piece of the vector and one keystream buffer stay in the cache while every stream passes over them;
nothing of the vector's length is ever allocated here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from crimson_protocol.crypto import primitives
from crimson_protocol.crypto.labels import PAIR_STREAM, SELF_STREAM
from crimson_protocol.entropy import Fill
from crimson_protocol.errors import CallerFault
from crimson_protocol.layout import Slice, Words
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.keys import Secret
from crimson_protocol.wire import cbor

PIECE_BYTES = 1 << 18
PIECE_WORDS = PIECE_BYTES // 4
# More open cipher contexts than this fall out of the cache; fewer read the vector more often.
OPEN_STREAMS = 64

SUITES = {"aes-256-ctr": primitives.aes256_ctr, "chacha20": primitives.chacha20}


@dataclass(frozen=True)
class Stream:
    """One keystream and the sign with which it enters the vector."""

    key: Secret
    added: bool


def pair_stream(pair_secret: Secret, t1: bytes, me: int, peer: int, part: Slice, *, added: bool) -> Stream:
    """The stream of one mask edge over one slice; both ends derive the same key."""
    lower, higher = sorted((me, peer))
    info = cbor.encode([PAIR_STREAM, lower, higher, part.index, part.length])
    return Stream(Secret(primitives.hkdf(pair_secret.reveal(), t1, info)), added)


def self_stream(seed: Secret, t1: bytes, owner: int, part: Slice, *, added: bool) -> Stream:
    """The stream of a node's self mask over one slice."""
    info = cbor.encode([SELF_STREAM, owner, part.index, part.length])
    return Stream(Secret(primitives.hkdf(seed.reveal(), t1, info)), added)


def pair_added(me: int, peer: int) -> bool:
    """The higher end of an edge adds its stream and the lower subtracts it, so the two cancel."""
    return me > peer


def apply_streams(words: Words, streams: Iterable[Stream], suite: str) -> None:
    """`words` += or -= every stream, modulo 2^32, in place. Takes streams lazily, `OPEN_STREAMS` at a time."""
    if words.dtype != np.dtype("<u4") or not words.flags.c_contiguous:
        raise CallerFault(Refusal.MALFORMED, "masks apply to contiguous little-endian 32-bit words")
    pending = iter(streams)
    while batch := list(islice(pending, OPEN_STREAMS)):
        _apply_batch(words, batch, suite)


def _apply_batch(words: Words, batch: Sequence[Stream], suite: str) -> None:
    start_stream = SUITES[suite]
    opened = [
        (start_stream(stream.key.reveal()), np.add if stream.added else np.subtract) for stream in batch
    ]
    buffer = np.empty(PIECE_WORDS, np.uint32)
    keystream, zeros = buffer.data.cast("B"), memoryview(bytes(PIECE_BYTES))
    for start in range(0, words.size, PIECE_WORDS):
        piece = words[start : start + PIECE_WORDS]
        expanded, silence = buffer[: piece.size], zeros[: 4 * piece.size]
        for expand, accumulate in opened:
            expand(silence, keystream)
            accumulate(piece, expanded, out=piece)


def keystream_fill(seed: Secret, suite: str) -> Fill:
    """Bulk randomness from one fresh seed, at the speed of the suite's keystream."""
    expand, zeros = SUITES[suite](seed.reveal()), memoryview(bytes(PIECE_BYTES))

    def fill(buffer: memoryview) -> None:
        for start in range(0, len(buffer), PIECE_BYTES):
            piece = buffer[start : start + PIECE_BYTES]
            expand(zeros[: len(piece)], piece)

    return fill
