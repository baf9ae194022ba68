"""Which columns of a pooled file are features, and of which kind."""

import polars as pl

from crimson_node.data.columns import filled_cells, numeric_column
from crimson_node.data.declaration import SPLIT_COLUMN, DatasetDeclaration
from crimson_node.data.errors import DataFault
from crimson_node.data.text_table import TextTable

_IDENTIFIER_NAMES = frozenset({"id", "pid"})


def choose_features(
    table: TextTable, roles: tuple[str, ...], requested: tuple[str, ...] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Feature columns, and the columns left out as identifiers, both in the order of the file.

    `roles` are the columns that already are site, split, time or event. Requested features are taken as
    they stand. Raises DataFault where a requested column is missing, named twice or has another role.
    """
    if requested is None:
        free = [name for name in table.frame.columns if name not in roles and name != SPLIT_COLUMN]
        identifiers = tuple(name for name in free if _is_identifier(table, name))
        return tuple(name for name in free if name not in identifiers), identifiers
    for name in requested:
        table.require(name)
        if name in roles or name == SPLIT_COLUMN:
            raise table.fault("this column has another role", "leave it out of the features", name)
        if requested.count(name) > 1:
            raise table.fault("this feature is named twice", "name every feature once", name)
    return requested, ()


def declare(
    table: TextTable, features: tuple[str, ...], time_column: str, event_column: str
) -> tuple[DatasetDeclaration, tuple[str, ...]]:
    """The declaration of these features, and those left out as text with one level only.

    Raises DataFault at a feature's empty cell, at a cell that is not a number in a column where most are,
    and where no feature is left.
    """
    numeric: list[str] = []
    categorical: list[tuple[str, tuple[str, ...]]] = []
    constant: list[str] = []
    for name in features:
        if _is_numeric(table, name):
            numeric_column(table, name)
            numeric.append(name)
            continue
        levels = tuple(sorted(set(filled_cells(table, name).to_list())))
        if len(levels) > 1:
            categorical.append((name, levels))
        else:
            constant.append(name)
    if not numeric and not categorical:
        raise DataFault("no column is left as a feature", "name the feature columns yourself")
    declaration = DatasetDeclaration(time_column, event_column, tuple(numeric), tuple(categorical))
    return declaration, tuple(constant)


def _is_identifier(table: TextTable, name: str) -> bool:
    # A column without a name is the row index that data frames write.
    folded = name.casefold()
    if not folded or folded in _IDENTIFIER_NAMES or folded.endswith("_id"):
        return True
    distinct = table.frame.get_column(name).drop_nulls().n_unique()
    return not _is_numeric(table, name) and 2 * distinct > table.frame.height


def _is_numeric(table: TextTable, name: str) -> bool:
    """Most cells are finite numbers; whether all are is checked by whoever reads the column."""
    values = table.frame.get_column(name).cast(pl.Float64, strict=False)
    return 2 * int(values.is_finite().sum()) > len(values)
