"""YAML 1.2 as a tree of texts, in the small part of YAML that a policy may use.

The parser's events are read one by one and anything beyond mappings, lists and scalars is refused as it comes:
nothing is ever expanded, and no scalar is ever guessed to be a number, a date or a truth value. What a text
means is for the form that it fills in.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from crimson_governance.outcome import BadYaml

MAX_YAML = 1 << 20
MAX_DEPTH = 16
_NULLS = ("", "~", "null", "Null", "NULL")
_HINT = "a policy's source is plain YAML: mappings, lists, texts and numbers, each written out once"

Place = tuple[str | int, ...]
"""Keys and list positions from the top of a file to one value."""


@dataclass(frozen=True)
class Scalar:
    """One text, and whether it was written without quotes: only then may it be a number, true or false."""

    text: str
    plain: bool


Tree = Any
"""None, Scalar, a list of trees, or a dict from text to tree."""


@dataclass(frozen=True)
class Document:
    """The tree of one file, and the line (from 1) of every value in it."""

    tree: Tree
    lines: dict[Place, int]

    def line(self, place: Place) -> int:
        """The line of a value, or of the nearest value around it."""
        while place not in self.lines and place:
            place = place[:-1]
        return self.lines.get(place, 1)


def read_tree(name: str, data: bytes) -> Document:
    """The tree in a file's bytes. `name` is how errors call the file.

    Raises BadYaml for more than 1 MiB, a nesting deeper than 16, an anchor, an alias, a tag, a directive, a
    second document, a key that is no text or stands there twice, and for whatever is no YAML.
    """
    if len(data) > MAX_YAML:
        raise BadYaml(f"{name} has {len(data)} bytes; at most {MAX_YAML} are read", "split the file")
    try:
        return _Reader(name, data.decode()).document()
    except UnicodeDecodeError:
        raise BadYaml(f"{name} is not UTF-8 text", "save the file as UTF-8") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise BadYaml(f"{name}:{line}: {error.problem or error.context}", _HINT) from None
    except YAMLError as error:
        raise BadYaml(f"{name}: {str(error).splitlines()[0]}", _HINT) from None


class _Reader:
    """Recursive descent over the events of one file. The depth is bounded before each descent."""

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._events: Iterator[Any] = iter(YAML(typ="safe", pure=True).parse(text))
        self._lines: dict[Place, int] = {}

    def document(self) -> Document:
        self._next("StreamStartEvent")
        start = next(self._events)
        if _kind(start) == "StreamEndEvent":
            return Document(None, {})
        if start.version is not None or start.tags:
            raise self._refuse(start, "a directive (%) has no place here")
        tree = self._value(next(self._events), ())
        self._next("DocumentEndEvent")
        end = next(self._events)
        if _kind(end) != "StreamEndEvent":
            raise self._refuse(end, "a second document begins; one file holds one")
        return Document(tree, self._lines)

    def _value(self, event: Any, place: Place) -> Tree:
        self._refuse_all_but_plain_yaml(event)
        if len(place) >= MAX_DEPTH:
            raise self._refuse(event, f"nested deeper than {MAX_DEPTH} levels")
        self._lines.setdefault(place, event.start_mark.line + 1)
        if _kind(event) == "ScalarEvent":
            plain = event.style is None
            return None if plain and event.value in _NULLS else Scalar(event.value, plain)
        return self._mapping(place) if _kind(event) == "MappingStartEvent" else self._list(place)

    def _list(self, place: Place) -> Tree:
        items: list[Tree] = []
        while _kind(event := next(self._events)) != "SequenceEndEvent":
            items.append(self._value(event, (*place, len(items))))
        return items

    def _mapping(self, place: Place) -> Tree:
        found: dict[str, Tree] = {}
        while _kind(event := next(self._events)) != "MappingEndEvent":
            key = self._key(event)
            if key in found:
                first = self._lines[(*place, key)]
                raise self._refuse(event, f"the key {key!r} stands here twice, first in line {first}")
            # A value may begin lines below its key, or nowhere: people look for the key.
            self._lines[(*place, key)] = event.start_mark.line + 1
            found[key] = self._value(next(self._events), (*place, key))
        return found

    def _key(self, event: Any) -> str:
        self._refuse_all_but_plain_yaml(event)
        if _kind(event) != "ScalarEvent" or not event.value:
            raise self._refuse(event, "a key must be a text")
        return str(event.value)

    def _refuse_all_but_plain_yaml(self, event: Any) -> None:
        if _kind(event) == "AliasEvent":
            raise self._refuse(event, f"the alias *{event.anchor} has no place here: write the value out")
        if event.anchor is not None:
            raise self._refuse(event, f"the anchor &{event.anchor} has no place here")
        if event.tag is not None:
            raise self._refuse(event, f"the tag {event.tag} has no place here")

    def _next(self, kind: str) -> None:
        event = next(self._events)
        if _kind(event) != kind:
            raise self._refuse(event, f"expected {kind}")

    def _refuse(self, event: Any, what: str) -> BadYaml:
        return BadYaml(f"{self._name}:{event.start_mark.line + 1}: {what}", _HINT)


def _kind(event: Any) -> str:
    return type(event).__name__
