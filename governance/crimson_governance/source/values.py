"""One value of a source file at a time: which texts are one, and what they mean.

Forms put these together; what values mean together is for the compiler and for the protocol's rules.
"""

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from crimson_governance.source import scalars
from crimson_protocol.policy.document import DISCLOSURES, KINDS

Item = TypeVar("Item", bound=str | bytes)


def _named(value: Any, most: int = 64) -> str:
    found = scalars.text(value)
    if not 1 <= len(found.encode()) <= most:
        raise ValueError(f"1 to {most} bytes of text belong here")
    return found


def one_of(words: tuple[str, ...]) -> Callable[[Any], str]:
    """A check that a text is one of these words; its error names the nearest."""

    def check(value: Any) -> str:
        found = scalars.text(value)
        if found in words:
            return found
        near = get_close_matches(found, words, 1, 0.5)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"{found!r} is none of {', '.join(words)}{meant}")

    return check


def _set(values: list[Item]) -> list[Item]:
    twice = {value for value in values if values.count(value) > 1}
    if twice:
        first = min(twice)
        raise ValueError(f"{first.hex() if isinstance(first, bytes) else first} stands here twice")
    return sorted(values)


Word = Annotated[str, BeforeValidator(_named)]
Column = Annotated[str, BeforeValidator(partial(_named, most=256))]
Integer = Annotated[int, BeforeValidator(scalars.integer)]
Boolean = Annotated[bool, BeforeValidator(scalars.boolean)]
Micro = Annotated[int, BeforeValidator(scalars.micro)]
SignedMicro = Annotated[int, BeforeValidator(scalars.signed_micro)]
Thousandths = Annotated[int, BeforeValidator(scalars.thousandths)]
Share = Annotated[tuple[int, int], BeforeValidator(scalars.share)]
Day = Annotated[int, BeforeValidator(scalars.day)]
Key32 = Annotated[bytes, BeforeValidator(partial(scalars.hexadecimal, length=32))]
BoxPublic = Annotated[bytes, BeforeValidator(partial(scalars.base64_bytes, length=1216))]
Kind = Annotated[str, BeforeValidator(one_of(KINDS))]
Words = Annotated[list[Word], AfterValidator(_set)]
Digests = Annotated[list[Key32], AfterValidator(_set)]
Kinds = Annotated[list[Kind], AfterValidator(_set)]
Disclosures = Annotated[list[Annotated[str, BeforeValidator(one_of(DISCLOSURES))]], AfterValidator(_set)]


class Form(BaseModel):
    """A mapping with known keys. An unknown one is an error that names the nearest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            if isinstance(value, cls):
                return value
            raise ValueError("keys with values belong here")
        for key in value:
            if key not in cls.model_fields:
                near = get_close_matches(key, cls.model_fields, 1, 0.5)
                meant = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(cls.model_fields)
                text = f"unknown key {key!r} ({meant})"
                raise PydanticCustomError("unknown_key", "{text}", {"text": text, "key": key})
        return value
