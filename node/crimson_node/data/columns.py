"""Text columns to numbers, with a check and a named place for whatever does not convert."""

import numpy as np
import polars as pl

from crimson_node.data.declaration import SPLIT_COLUMN
from crimson_node.data.rows import Flags, Floats
from crimson_node.data.text_table import TextTable

_EVENT_WORDS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}


def numeric_column(table: TextTable, column: str) -> Floats:
    """The column as float64 (rows,). Raises DataFault at the first cell that is not a finite number."""
    cells = filled_cells(table, column)
    values = cells.cast(pl.Float64, strict=False)
    hint = "write numbers with a decimal point, fill the value or leave the row out"
    _stop_at(table, column, values.is_null(), "this cell is not a number", hint)
    _stop_at(table, column, ~values.is_finite(), "this cell is not a finite number", hint)
    return values.to_numpy().astype(np.float64)


def time_column(table: TextTable, column: str) -> Floats:
    """Follow-up times (rows,), finite and not negative. Raises DataFault at the first other cell.

    0 is a time: registries hold patients who were enrolled and never seen again.
    """
    times = numeric_column(table, column)
    hint = "follow-up starts at 0: correct the time or leave the row out"
    _stop_at(table, column, pl.Series(times < 0), "this time is below 0", hint)
    return times


def event_column(table: TextTable, column: str) -> Flags:
    """Event flags (rows,). Raises DataFault at the first cell other than 0, 1, 0.0, 1.0, true, false."""
    cells = filled_cells(table, column).str.to_lowercase()
    known = cells.is_in(list(_EVENT_WORDS))
    hint = "write 1 or true where the event happened, 0 or false where follow-up ended without it"
    _stop_at(table, column, ~known, "this cell is neither 0 nor 1", hint)
    return np.array([_EVENT_WORDS[word] for word in cells.to_list()], dtype=np.bool_)


def train_column(table: TextTable) -> Flags:
    """True where the row is for training (rows,). Raises DataFault at a cell other than train or test."""
    cells = filled_cells(table, SPLIT_COLUMN)
    other = ~cells.is_in(["train", "test"])
    _stop_at(table, SPLIT_COLUMN, other, "this cell is neither train nor test", "write train or test")
    return (cells == "train").to_numpy()


def one_hot_columns(table: TextTable, column: str, levels: tuple[str, ...]) -> Floats:
    """0/1 columns (rows, levels - 1), the first level dropped. Raises DataFault at an undeclared level."""
    cells = filled_cells(table, column)
    hint = f"the declaration knows {len(levels)} levels: correct the cell or declare its level everywhere"
    _stop_at(table, column, ~cells.is_in(list(levels)), "this level is not declared", hint)
    # An array of text has no common width with no row in it, hence the explicit kind.
    text = np.array(cells.to_list(), dtype=object)
    chosen: Flags = text[:, None] == np.array(levels[1:], dtype=object)[None, :]
    return chosen.astype(np.float64)


def filled_cells(table: TextTable, column: str) -> pl.Series:
    """The column's text. Raises DataFault where the column is missing or has an empty cell."""
    table.require(column)
    cells = table.frame.get_column(column)
    hint = "fill the value, leave the row out or leave the column out"
    _stop_at(table, column, cells.is_null(), "this cell is empty", hint)
    return cells


def _stop_at(table: TextTable, column: str, wrong: pl.Series, message: str, hint: str) -> None:
    if wrong.any():
        row = wrong.arg_true()[0]
        raise table.fault(message, hint, column, int(row))
