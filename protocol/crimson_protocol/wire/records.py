"""Typed records over canonical CBOR: a dataclass whose annotations carry the bounds of every field.

A record travels as an array of its fields in the order of declaration. Parsing checks type, length and
range of each field before anything else looks at it; a value that passes `from_plain` needs no second
check of its shape anywhere.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Protocol, Self, cast, get_args, get_type_hints

from crimson_protocol.errors import CallerFault, PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire import cbor

Plain = Any
"""What the CBOR codec takes and gives: None, bool, int, bytes, str, list, dict."""


class Field(Protocol):
    """Bounds of one field, and its two directions."""

    def parse(self, value: Plain) -> Any: ...

    def plain(self, value: Any) -> Plain: ...


def _refuse(what: str) -> PeerFault:
    return PeerFault(Refusal.MALFORMED, f"expected {what}")


@dataclass(frozen=True)
class UInt:
    """An unsigned integer up to `maximum`, inclusive."""

    maximum: int = 2**63 - 1

    def parse(self, value: Plain) -> int:
        if type(value) is not int or not 0 <= value <= self.maximum:
            raise _refuse(f"an integer from 0 to {self.maximum}")
        return value

    def plain(self, value: int) -> Plain:
        return value


@dataclass(frozen=True)
class Bytes:
    """Exactly `length` bytes."""

    length: int

    def parse(self, value: Plain) -> bytes:
        if type(value) is not bytes or len(value) != self.length:
            raise _refuse(f"{self.length} bytes")
        return value

    def plain(self, value: bytes) -> Plain:
        return value


@dataclass(frozen=True)
class BytesUpTo:
    """Between 0 and `maximum` bytes."""

    maximum: int

    def parse(self, value: Plain) -> bytes:
        if type(value) is not bytes or len(value) > self.maximum:
            raise _refuse(f"at most {self.maximum} bytes")
        return value

    def plain(self, value: bytes) -> Plain:
        return value


@dataclass(frozen=True)
class Int:
    """An integer between -maximum and maximum."""

    maximum: int

    def parse(self, value: Plain) -> int:
        if type(value) is not int or not -self.maximum <= value <= self.maximum:
            raise _refuse(f"an integer of magnitude {self.maximum} at most")
        return value

    def plain(self, value: int) -> Plain:
        return value


@dataclass(frozen=True)
class Text:
    """Printable text of 1 to `maximum` bytes of UTF-8: it may be shown to people and used in log lines."""

    maximum: int

    def parse(self, value: Plain) -> str:
        if type(value) is not str or not 1 <= len(value.encode()) <= self.maximum or not value.isprintable():
            raise _refuse(f"printable text of 1 to {self.maximum} bytes")
        return value

    def plain(self, value: str) -> Plain:
        return value


@dataclass(frozen=True)
class Prose:
    """Text of many lines, up to `maximum` bytes of UTF-8, without any control character but newline and tab."""

    maximum: int

    def parse(self, value: Plain) -> str:
        if type(value) is not str or len(value.encode()) > self.maximum:
            raise _refuse(f"text of at most {self.maximum} bytes")
        if not value.replace("\n", "").replace("\t", "").isprintable():
            raise _refuse("text without control characters")
        return value

    def plain(self, value: str) -> Plain:
        return value


@dataclass(frozen=True)
class OneOf:
    """One word of a closed list."""

    words: tuple[str, ...]

    def parse(self, value: Plain) -> str:
        if type(value) is not str or value not in self.words:
            raise _refuse("one of " + ", ".join(self.words))
        return value

    def plain(self, value: str) -> Plain:
        return value


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def parse(self, value: Plain) -> bool:
        if type(value) is not bool:
            raise _refuse("true or false")
        return value

    def plain(self, value: bool) -> Plain:
        return value


@dataclass(frozen=True)
class Maybe:
    """The inner field, or null."""

    inner: Field

    def parse(self, value: Plain) -> Any:
        return None if value is None else self.inner.parse(value)

    def plain(self, value: Any) -> Plain:
        return None if value is None else self.inner.plain(value)


@dataclass(frozen=True)
class Items:
    """A list of up to `maximum` items, as a tuple. With `key` the items must strictly ascend by it."""

    inner: Field
    maximum: int
    key: Callable[[Any], Any] | None = None

    def parse(self, value: Plain) -> tuple[Any, ...]:
        if type(value) is not list or len(value) > self.maximum:
            raise _refuse(f"a list of at most {self.maximum} items")
        items = tuple(self.inner.parse(item) for item in value)
        if self.key is not None:
            keys = [self.key(item) for item in items]
            if any(left >= right for left, right in pairwise(keys)):
                raise _refuse("a list in strictly ascending order")
        return items

    def plain(self, value: Sequence[Any]) -> Plain:
        return [self.inner.plain(item) for item in value]


@dataclass(frozen=True)
class Fraction:
    """A numerator and a positive denominator, each up to `maximum`."""

    maximum: int = 1_000_000

    def parse(self, value: Plain) -> tuple[int, int]:
        if type(value) is not list or len(value) != 2 or any(type(part) is not int for part in value):
            raise _refuse("a numerator and a denominator")
        numerator, denominator = value
        if not 0 <= numerator <= self.maximum or not 1 <= denominator <= self.maximum:
            raise _refuse(f"a ratio of integers up to {self.maximum}")
        return numerator, denominator

    def plain(self, value: tuple[int, int]) -> Plain:
        return list(value)


@dataclass(frozen=True)
class Nested:
    """Another record."""

    record: type["Record"]

    def parse(self, value: Plain) -> "Record":
        return self.record.from_plain(value)

    def plain(self, value: "Record") -> Plain:
        return value.to_plain()


def itself(value: Any) -> Any:
    """Ordering key of a list of plain values."""
    return value


@cache
def _fields_of(record: Hashable) -> tuple[tuple[str, Field], ...]:
    # Classes are hashable, but their type does not say so once they define equality.
    return _read_fields(cast(type["Record"], record))


def _fields(record: type["Record"]) -> tuple[tuple[str, Field], ...]:
    return _fields_of(cast(Hashable, record))


def _read_fields(record: type["Record"]) -> tuple[tuple[str, Field], ...]:
    hints = get_type_hints(record, include_extras=True)
    fields = []
    for name in record.__dataclass_fields__:  # type: ignore[attr-defined]
        marks = [mark for mark in get_args(hints[name])[1:] if hasattr(mark, "parse")]
        if len(marks) != 1:
            raise CallerFault(Refusal.MALFORMED, f"{record.__name__}.{name} needs exactly one field bound")
        fields.append((name, marks[0]))
    return tuple(fields)


class Record:
    """Base of every dataclass that is hashed, signed or sent."""

    def to_plain(self) -> Plain:
        """The record as a CBOR array."""
        return [field.plain(getattr(self, name)) for name, field in _fields(type(self))]

    def to_bytes(self) -> bytes:
        """The record's one encoding."""
        return cbor.encode(self.to_plain())

    @classmethod
    def from_plain(cls, value: Plain) -> Self:
        """Check every field; PeerFault(MALFORMED) names the first that is out of bounds."""
        fields = _fields(cls)
        if type(value) is not list or len(value) != len(fields):
            raise _refuse(f"{cls.__name__} as a list of {len(fields)} fields")
        parsed = {}
        for (name, field), item in zip(fields, value, strict=True):
            try:
                parsed[name] = field.parse(item)
            except PeerFault as fault:
                raise PeerFault(fault.code, f"{cls.__name__}.{name}: {fault.text}") from fault
        return cls(**parsed)

    @classmethod
    def from_bytes(cls, data: bytes, cap: int) -> Self:
        """Parse untrusted bytes of at most `cap`; PeerFault for anything but the one encoding of a record."""
        return cls.from_plain(cbor.decode(data, cap=cap))


# The field types that recur everywhere.
MAX_NODES = 4096
Digest = Annotated[bytes, Bytes(32)]
Key32 = Annotated[bytes, Bytes(32)]
BoxPublic = Annotated[bytes, Bytes(1216)]
Signature = Annotated[bytes, Bytes(64)]
Name = Annotated[str, Text(64)]
Count = Annotated[int, UInt()]
NodeIndex = Annotated[int, UInt(MAX_NODES - 1)]
NodeSet = Annotated[tuple[int, ...], Items(UInt(MAX_NODES - 1), MAX_NODES, itself)]
Ratio = Annotated[tuple[int, int], Fraction()]
