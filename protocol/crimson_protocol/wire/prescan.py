"""A walk over CBOR heads that refuses hostile input before a general decoder sees one byte of it.

The profile is a small part of RFC 8949: integers of at most 64 bits, byte and text strings, arrays, maps
whose keys are all unsigned integers or all text, and false, true and null. A tag is refused unread,
because a general decoder acts on it (tag 35 compiles the sender's regular expression, tags 4 and 5 build
huge numbers); floats are refused because a value has several encodings and NaN equals nothing.
"""

from collections.abc import Set
from dataclasses import dataclass

from crimson_protocol.errors import CallerFault, PeerFault
from crimson_protocol.refusal import Refusal

MAX_DEPTH = 16
MAX_ITEMS = 65_536

# Simple values by their number (RFC 8949 section 3.3, table 4); no other may ever be allowed.
FALSE, TRUE, NULL = 20, 21, 22
SIMPLE_VALUES = frozenset({FALSE, TRUE, NULL})

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_LONGER = 24
_INDEFINITE = 31
# The least argument that needs a head of 1, 2, 4 or 8 more bytes (RFC 8949 section 4.2.1).
_LEAST = (24, 1 << 8, 1 << 16, 1 << 32)


@dataclass(slots=True)
class _Container:
    """An array or map whose items are not all read: `left` items to come, a pair counting as two."""

    left: int
    is_map: bool
    key_major: int | None = None


def prescan(
    data: bytes | memoryview,
    *,
    cap: int,
    max_depth: int = MAX_DEPTH,
    max_items: int = MAX_ITEMS,
    simple: Set[int] = SIMPLE_VALUES,
) -> None:
    """Check that `data` is one well-formed item of the profile, without building any value.

    data: the encoded item, a contiguous buffer of bytes. cap: bytes it may have at most.
    max_depth: containers that may be open at once; a bare scalar has depth 0.
    max_items: data items in all, keys and values counted, as the heads declare them.
    simple: numbers of the simple values allowed here, a subset of SIMPLE_VALUES.

    Not checked here: UTF-8, repeated keys and the order of keys.

    Raises PeerFault TOO_LARGE past cap, max_depth or max_items; NOT_CANONICAL for a head longer than
    needed or an indefinite length; MALFORMED for everything else. Raises CallerFault for a bad `simple`.
    Source: RFC 8949 section 3 (heads) and section 4.2.1 (deterministic form).
    """
    if not simple <= SIMPLE_VALUES:
        raise CallerFault(Refusal.MALFORMED, "only false, true and null can be allowed")
    size = len(data)
    if size > cap:
        raise PeerFault(Refusal.TOO_LARGE, f"{size} bytes where at most {cap} are allowed")
    end = _walk_item(data, max_depth, max_items, simple)
    if end != size:
        raise PeerFault(Refusal.MALFORMED, f"{size - end} bytes after the end of the item")


def _walk_item(data: bytes | memoryview, max_depth: int, max_items: int, simple: Set[int]) -> int:
    """The position after the outermost item, with all it contains."""
    at = 0
    items = 1  # Declared so far: the outermost item is in no container that would count it.
    open_containers: list[_Container] = []
    while True:
        major, argument, at = _read_head(data, at, simple)
        if open_containers:
            parent = open_containers[-1]
            if parent.is_map and parent.left % 2 == 0:
                _take_key(parent, major, at)
            parent.left -= 1
        if major in (_BYTES, _TEXT):
            _require_room(argument, data, at)
            at += argument
        elif major in (_ARRAY, _MAP):
            children = argument if major == _ARRAY else 2 * argument
            _require_room(children, data, at)  # Every item takes a byte at least.
            items += children
            if items > max_items or len(open_containers) >= max_depth:
                raise PeerFault(Refusal.TOO_LARGE, f"too many items or too deep before byte {at}")
            open_containers.append(_Container(children, major == _MAP))
        while open_containers and open_containers[-1].left == 0:
            open_containers.pop()
        if not open_containers:
            return at


def _read_head(data: bytes | memoryview, at: int, simple: Set[int]) -> tuple[int, int, int]:
    """Major type, argument and the position after the head at `at`."""
    if at >= len(data):
        raise PeerFault(Refusal.MALFORMED, f"input ends at byte {at}, where an item should begin")
    head = data[at]
    major, info = head >> 5, head & 0x1F
    if major < _TAG and info < _LONGER:  # Most heads: the argument is in the head itself.
        return major, info, at + 1
    if major == _TAG:
        raise PeerFault(Refusal.MALFORMED, f"tag at byte {at}")
    if major == _SIMPLE:
        if info not in simple:  # Floats, break, undefined and unassigned values all end here.
            raise PeerFault(Refusal.MALFORMED, f"float or simple value that is not allowed at byte {at}")
        return major, info, at + 1
    if info > 27:
        if info == _INDEFINITE and major not in (_UNSIGNED, _NEGATIVE):
            raise PeerFault(Refusal.NOT_CANONICAL, f"indefinite length at byte {at}")
        raise PeerFault(Refusal.MALFORMED, f"reserved head at byte {at}")
    width = 1 << (info - 24)
    end = at + 1 + width
    if end > len(data):
        raise PeerFault(Refusal.MALFORMED, f"input ends inside the head at byte {at}")
    argument = int.from_bytes(data[at + 1 : end], "big")
    if argument < _LEAST[info - 24]:
        raise PeerFault(Refusal.NOT_CANONICAL, f"head longer than needed at byte {at}")
    return major, argument, end


def _take_key(parent: _Container, major: int, at: int) -> None:
    """Hold a key of `parent` to the kind of the map's first key."""
    if parent.key_major is None and major in (_UNSIGNED, _TEXT):
        parent.key_major = major
    if major != parent.key_major:
        raise PeerFault(Refusal.MALFORMED, f"map key of another or a forbidden kind before byte {at}")


def _require_room(needed: int, data: bytes | memoryview, at: int) -> None:
    if needed > len(data) - at:
        raise PeerFault(Refusal.MALFORMED, f"the head before byte {at} declares more than there is")
