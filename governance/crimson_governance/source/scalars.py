"""Texts of a source file as exact values. No number ever passes through floating point.

Each function takes what the tree holds and raises ValueError with a sentence for whoever wrote it.
"""

import base64
import binascii
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from crimson_governance.source.yaml_tree import Scalar

_INTEGER = re.compile(r"0|[1-9][0-9]{0,18}")
_DECIMAL = re.compile(r"(?:0|[1-9][0-9]{0,14})(?:\.[0-9]+)?")
_SHARE = re.compile(r"(0|[1-9][0-9]{0,6})/([1-9][0-9]{0,6})")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_HEX = re.compile(r"[0-9a-f]*")
MICRO_PLACES, THOUSANDTH_PLACES = 6, 3


def text(value: Any) -> str:
    """Any scalar, as it is written."""
    if not isinstance(value, Scalar):
        raise ValueError("a text belongs here")
    if not value.text.isprintable():
        raise ValueError("the text has a character that cannot be printed")
    return value.text


def integer(value: Any) -> int:
    """A whole number in plain decimal."""
    if not isinstance(value, Scalar) or not value.plain or not _INTEGER.fullmatch(value.text):
        raise ValueError(f"a whole number in plain decimal belongs here{_instead(value)}")
    return int(value.text)


def boolean(value: Any) -> bool:
    """true or false, without quotes."""
    if not isinstance(value, Scalar) or not value.plain or value.text not in ("true", "false"):
        raise ValueError(f"true or false belongs here{_instead(value)}")
    return value.text == "true"


def fixed_point(value: Any, places: int) -> int:
    """A plain decimal in units of 10^-places, exactly."""
    if not isinstance(value, Scalar) or not value.plain or not _DECIMAL.fullmatch(value.text):
        raise ValueError(f"a plain decimal like 8 or 0.25 belongs here{_instead(value)}")
    number = Decimal(value.text)
    if len(value.text.partition(".")[2]) > places:
        raise ValueError(f"{value.text} has more than {places} decimal places and could not be kept exactly")
    return int(number.scaleb(places))


def micro(value: Any) -> int:
    """A plain decimal of at most six places, in millionths."""
    return fixed_point(value, MICRO_PLACES)


def signed_micro(value: Any) -> int:
    """The same, with a minus sign where it is below 0."""
    if isinstance(value, Scalar) and value.plain and value.text.startswith("-"):
        found = fixed_point(Scalar(value.text[1:], True), MICRO_PLACES)
        if not found:
            raise ValueError(f"zero is written 0, not {value.text!r}")
        return -found
    return fixed_point(value, MICRO_PLACES)


def thousandths(value: Any) -> int:
    """A plain decimal of at most three places, in thousandths."""
    return fixed_point(value, THOUSANDTH_PLACES)


def share(value: Any) -> tuple[int, int]:
    """A share like 1/5, as numerator and denominator."""
    match = _SHARE.fullmatch(value.text) if isinstance(value, Scalar) else None
    if match is None:
        raise ValueError(f"a share like 1/5 belongs here{_instead(value)}")
    return int(match[1]), int(match[2])


def hexadecimal(value: Any, length: int) -> bytes:
    """Exactly `length` bytes in lower-case hexadecimal."""
    if not isinstance(value, Scalar) or not _HEX.fullmatch(value.text) or len(value.text) != 2 * length:
        raise ValueError(f"{2 * length} lower-case hexadecimal digits belong here")
    return bytes.fromhex(value.text)


def base64_bytes(value: Any, length: int) -> bytes:
    """Exactly `length` bytes in base64, over as many lines as it takes."""
    if not isinstance(value, Scalar):
        raise ValueError("base64 belongs here")
    packed = "".join(value.text.split())
    try:
        data = base64.b64decode(packed, validate=True)
    except (ValueError, binascii.Error):
        raise ValueError("this is not base64") from None
    if base64.b64encode(data).decode() != packed:
        raise ValueError("this base64 has stray bits at its end")
    if len(data) != length:
        raise ValueError(f"this is base64 of {len(data)} bytes, not of {length}")
    return data


def day(value: Any) -> int:
    """A date like 2027-01-31, as the Unix time of its first second in UTC."""
    try:
        if not isinstance(value, Scalar) or not _DAY.fullmatch(value.text):
            raise ValueError
        found = date.fromisoformat(value.text)
    except ValueError:
        raise ValueError(f"a date like 2027-01-31 belongs here{_instead(value)}") from None
    return int(datetime(found.year, found.month, found.day, tzinfo=UTC).timestamp())


def _instead(value: Any) -> str:
    if isinstance(value, Scalar):
        shown = value.text if len(value.text) <= 40 else value.text[:40] + "…"
        return f", not {shown!r}" if value.plain else f", without quotes; not {shown!r}"
    return ", not nothing" if value is None else ", not a list or a mapping"
