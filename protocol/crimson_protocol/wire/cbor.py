"""Canonical CBOR, both ways: one value has one encoding, and any other encoding of it is refused.

Canonical means the core deterministic encoding of RFC 8949 section 4.2.1, within the profile of prescan.
Two parties that agree on a value therefore agree on its bytes, which is what digests and signatures need.
"""

from collections.abc import Iterable, Set
from types import NoneType

import cbor2

from crimson_protocol.errors import CallerFault, PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.prescan import MAX_DEPTH, MAX_ITEMS, SIMPLE_VALUES, prescan

# What major types 0 and 1 hold; beyond it cbor2 would write a tagged bignum.
_LEAST_INTEGER = -(1 << 64)
_GREATEST_INTEGER = (1 << 64) - 1
# Every value of these types has an encoding, lone surrogates aside.
_SCALARS = frozenset({NoneType, bool, bytes, str})


def encode(value: object) -> bytes:
    """The canonical encoding of `value`.

    value: None, bool, int in [-2^64, 2^64 - 1], bytes, str, list or tuple of these, or dict whose keys are
    all non-negative ints or all str; at most MAX_DEPTH containers inside each other. Exactly these types:
    a subclass or a numpy scalar is refused, since what the other side decodes would not be equal to it.
    A tuple decodes as a list.

    Raises CallerFault for anything else. Source: RFC 8949 section 4.2.1.
    """
    _require_encodable(value, 0)
    try:
        return _canonical(value)
    except UnicodeEncodeError as error:
        raise CallerFault(Refusal.MALFORMED, "text holds a lone surrogate") from error


def decode(
    data: bytes | memoryview,
    *,
    cap: int,
    max_depth: int = MAX_DEPTH,
    max_items: int = MAX_ITEMS,
    simple: Set[int] = SIMPLE_VALUES,
) -> object:
    """The value that `data` encodes: None, bool, int, bytes, str, list or dict, as `encode` takes them.

    The limits are those of prescan, and max_depth is at most MAX_DEPTH, so that whatever is decoded can
    be encoded. `encode(decode(data)) == data` for every input that is not refused.

    Raises PeerFault and nothing else, whatever the bytes are: TOO_LARGE past a limit; NOT_CANONICAL for
    another encoding of a value than the canonical one; MALFORMED for everything else, repeated keys and
    invalid UTF-8 included. Raises CallerFault for limits that are out of range.
    """
    if max_depth > MAX_DEPTH:
        raise CallerFault(Refusal.MALFORMED, f"max_depth is {MAX_DEPTH} at most")
    # One copy, so that what was scanned is what is decoded even if the buffer behind a view changes; one
    # byte over the cap is enough for prescan to refuse it.
    received = data if isinstance(data, bytes) else bytes(data[: cap + 1])
    prescan(received, cap=cap, max_depth=max_depth, max_items=max_items, simple=simple)
    value = _loads(received)
    if _canonical(value) != received:
        raise PeerFault(Refusal.NOT_CANONICAL, "not the canonical encoding of its value")
    return value


def _loads(received: bytes) -> object:
    try:
        value: object = cbor2.loads(
            received, max_depth=MAX_DEPTH, allow_indefinite=False, allow_duplicate_keys=False
        )
    except MemoryError:
        raise  # Our own shortage: prescan bounds what any sender can ask for.
    except Exception as error:
        # Whatever a foreign decoder raises on bytes from outside, the bytes are to blame, not this process.
        raise PeerFault(Refusal.MALFORMED, "repeated map key or text that is not UTF-8") from error
    return value


def _canonical(value: object) -> bytes:
    # cbor2 sorts map keys length-first (RFC 7049 section 3.9); RFC 8949 section 4.2.1 sorts them bytewise.
    # Both orders are one where all keys of a map are unsigned or all are text, at any length: the
    # shortest head of a greater argument is bytewise greater, so a longer encoding never sorts first.
    # They differ for mixed kinds and for negative keys, which this profile does not have.
    return cbor2.dumps(value, canonical=True)


def _require_encodable(value: object, depth: int) -> None:
    """Refuse what `decode` would not give back; `depth` containers are open around `value`."""
    if type(value) in _SCALARS:
        return
    if type(value) is int:
        if not _LEAST_INTEGER <= value <= _GREATEST_INTEGER:
            raise CallerFault(Refusal.OUT_OF_RANGE, "integer beyond 64 bits")
        return
    if depth >= MAX_DEPTH:
        raise CallerFault(Refusal.TOO_LARGE, f"more than {MAX_DEPTH} containers inside each other")
    if type(value) is dict:
        _require_keys(value)
        items: Iterable[object] = value.values()
    elif type(value) is list or type(value) is tuple:
        items = value
    else:
        raise CallerFault(Refusal.MALFORMED, f"{type(value).__name__} has no encoding in this profile")
    for item in items:
        if type(item) not in _SCALARS:
            _require_encodable(item, depth + 1)


def _require_keys(value: dict[object, object]) -> None:
    kinds = {type(key) for key in value}
    if kinds not in (set(), {str}, {int}):
        raise CallerFault(Refusal.MALFORMED, "map keys are neither all text nor all integers")
    if kinds == {int} and any(not 0 <= key <= _GREATEST_INTEGER for key in value):  # type: ignore[operator]
        raise CallerFault(Refusal.OUT_OF_RANGE, "map key is no unsigned 64-bit integer")
