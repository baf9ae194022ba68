"""One source file into its form. Every fault is told at once, each with file and line."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from crimson_governance.outcome import BadSource
from crimson_governance.source.values import Form
from crimson_governance.source.yaml_tree import Document, Place, read_tree

AnyForm = TypeVar("AnyForm", bound=Form)
_HINT = "mend the named lines; docs/governor-guide.md, Source files, lists every key"


@dataclass(frozen=True)
class Filled(Generic[AnyForm]):
    """A form, and where each of its values stands."""

    name: str
    form: AnyForm
    document: Document

    def fault(self, place: Place, what: str) -> BadSource:
        """An error about one value, with file and line."""
        return BadSource(f"{self.name}:{self.document.line(place)}: {what}", _HINT)


def fill(kind: type[AnyForm], name: str, data: bytes) -> Filled[AnyForm]:
    """The form in a file's bytes. Raises BadYaml and BadSource."""
    document = read_tree(name, data)
    try:
        return Filled(name, kind.model_validate(document.tree), document)
    except ValidationError as error:
        told = [_told(fault, document) for fault in error.errors(include_url=False)]
        # In the order of the file, as somebody reads it who mends it.
        told.sort(key=lambda fault: fault[0])
        raise BadSource("\n".join(f"{name}:{line}: {text}" for line, text in told), _HINT) from None


def _told(fault: Any, document: Document) -> tuple[int, str]:
    """Line and sentence of one fault that pydantic found."""
    place: Place = tuple(fault["loc"])
    match fault["type"]:
        case "unknown_key":
            return document.line((*place, fault["ctx"]["key"])), fault["ctx"]["text"]
        case "missing":
            return document.line(place[:-1]), f"the key {_path(place)} is missing"
        case "value_error":
            text = str(fault["ctx"]["error"])
        case "list_type":
            text = "a list belongs here"
        case _:
            text = fault["msg"]
    return document.line(place), f"{_path(place)}: {text}" if place else text


def _path(place: Place) -> str:
    """A place as people write it: numbers.clip, nodes[2].kind."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
