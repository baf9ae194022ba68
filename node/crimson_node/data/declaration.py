"""What a survival dataset declares, and every site agrees on: columns, and the levels of text columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crimson_node.data.errors import DataFault
from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal

SPLIT_COLUMN = "crimson_split"
_KEYS = frozenset({"time_column", "event_column", "numeric", "categorical"})


@dataclass(frozen=True)
class DatasetDeclaration:
    """The columns a model is trained on, in the order of its coefficients.

    Numeric columns come first, then each categorical column one-hot with its first level, the baseline,
    dropped. Levels are sorted and distinct. Raises DataFault where columns repeat, levels are not sorted,
    or no feature is left.
    """

    time_column: str
    event_column: str
    numeric: tuple[str, ...]
    categorical: tuple[tuple[str, tuple[str, ...]], ...]

    def __post_init__(self) -> None:
        names = self.columns
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataFault("a column has two roles", "name every column once", column=twice[0])
        if SPLIT_COLUMN in names:
            raise DataFault("this name is reserved for the split", "rename the column", column=SPLIT_COLUMN)
        for column, levels in self.categorical:
            if not levels or list(levels) != sorted(set(levels)):
                raise DataFault("the levels are not sorted and distinct", "sort the levels", column=column)
        if not self.dimension:
            raise DataFault("no feature is declared", "declare at least one column that varies")

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column a site's file needs, the split aside: time, event, numeric, categorical."""
        return (self.time_column, self.event_column, *self.numeric, *(name for name, _ in self.categorical))

    @property
    def feature_names(self) -> tuple[str, ...]:
        """One name for each coefficient, "column" or "column=level"."""
        dummies = (f"{column}={level}" for column, levels in self.categorical for level in levels[1:])
        return (*self.numeric, *dummies)

    @property
    def dimension(self) -> int:
        """Number of features after one-hot coding."""
        return len(self.numeric) + sum(len(levels) - 1 for _, levels in self.categorical)

    def to_plain(self) -> dict[str, Any]:
        """The declaration as text, lists and dictionaries only, for a canonical encoding."""
        coded = [{"column": column, "levels": list(levels)} for column, levels in self.categorical]
        return {
            "time_column": self.time_column,
            "event_column": self.event_column,
            "numeric": list(self.numeric),
            "categorical": coded,
        }

    @classmethod
    def from_plain(cls, plain: object) -> "DatasetDeclaration":
        """The declaration `to_plain` wrote. Raises PeerFault (malformed) on any other shape."""
        fields = _fields(plain, _KEYS)
        categorical = []
        for entry in _list(fields["categorical"]):
            column = _fields(entry, frozenset({"column", "levels"}))
            categorical.append((_text(column["column"]), tuple(_text(x) for x in _list(column["levels"]))))
        try:
            return cls(
                time_column=_text(fields["time_column"]),
                event_column=_text(fields["event_column"]),
                numeric=tuple(_text(name) for name in _list(fields["numeric"])),
                categorical=tuple(categorical),
            )
        except DataFault as fault:
            raise _malformed(str(fault)) from None


def _malformed(text: str) -> PeerFault:
    return PeerFault(Refusal.MALFORMED, f"dataset declaration: {text}")


def _fields(value: object, keys: frozenset[str]) -> Mapping[str, object]:
    if not isinstance(value, dict) or set(value) != keys:
        raise _malformed(f"expected exactly the keys {', '.join(sorted(keys))}")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise _malformed("expected a list")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _malformed("expected a text that is not empty")
    return value
