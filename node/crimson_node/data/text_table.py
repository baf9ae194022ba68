"""A CSV file as text: nothing is guessed here, and every row knows its line in the file."""

import csv
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from crimson_node.data.errors import DataFault

# Enough to recognise the file by; some have hundreds of columns.
_NAMES_SHOWN = 8


@dataclass(frozen=True, eq=False)
class TextTable:
    """Rows as text: cells without surrounding blanks, empty cells null, wholly empty rows left out.

    `records` (rows,) int64 counts the data records of the file before a row; `path` is None for a table
    that has not been written yet, whose lines are counted as if it had.
    """

    frame: pl.DataFrame
    records: npt.NDArray[np.int64]
    path: Path | None = None
    site: str | None = None

    @classmethod
    def unwritten(cls, frame: pl.DataFrame, site: str | None = None) -> "TextTable":
        """A table of text columns that is not (yet) a file."""
        return cls(frame, np.arange(frame.height, dtype=np.int64), None, site)

    def line(self, row: int) -> int:
        """The 1-based line in the file on which the row starts."""
        record = int(self.records[row])
        return record + 2 if self.path is None else _line_of_record(self.path, record)

    def fault(self, message: str, hint: str, column: str | None = None, row: int | None = None) -> DataFault:
        """The fault at this place of this table, for the caller to raise."""
        line = None if row is None else self.line(row)
        return DataFault(message, hint, site=self.site, column=column, row=line)

    def require(self, column: str) -> None:
        """Raises DataFault, naming the nearest column, where the table lacks this one."""
        if column not in self.frame.columns:
            hint = nearest(column, self.frame.columns, "columns")
            raise self.fault("the file has no such column", hint, column)


def nearest(name: str, known: list[str], kind: str) -> str:
    """A hint: the known name most like `name`, else the first few known ones."""
    by_fold = {candidate.casefold(): candidate for candidate in known}
    close = get_close_matches(name.casefold(), list(by_fold), n=1, cutoff=0.6)
    if close:
        return f"did you mean {by_fold[close[0]]}?"
    shown = ", ".join(known[:_NAMES_SHOWN]) + (", …" if len(known) > _NAMES_SHOWN else "")
    return f"{kind} known here: {shown}"


def read_text_table(path: Path, site: str | None = None) -> TextTable:
    """Reads a CSV file (comma, UTF-8, one header line).

    Raises DataFault where the file is absent, is not such a file, or names a column twice.
    """
    header = _header(path, site)
    try:
        frame = pl.read_csv(path, infer_schema=False)
        frame.columns = header
    except (pl.exceptions.PolarsError, OSError):
        # The library's message quotes cells, so it stops here.
        raise DataFault(
            "the file does not read as one table", "expected comma-separated UTF-8 with equal rows", site=site
        ) from None
    frame = frame.with_columns(pl.all().str.strip_chars())
    frame = frame.with_columns(pl.when(pl.all() != "").then(pl.all()))
    filled = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series().to_numpy()
    return TextTable(frame.filter(filled), np.flatnonzero(filled).astype(np.int64), path, site)


def _header(path: Path, site: str | None) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            names = [name.strip() for name in next((cells for cells in csv.reader(lines) if cells), [])]
    except (OSError, UnicodeDecodeError, csv.Error):
        raise DataFault(
            f"{path.name} cannot be read", "check that it is there, may be read and is UTF-8 text", site=site
        ) from None
    if not names:
        raise DataFault(f"{path.name} is empty", "expected a header line and one line per row", site=site)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataFault("two columns have this name", "rename one of them", site=site, column=twice[0], row=1)
    return names


def _line_of_record(path: Path, record: int) -> int:
    """Counts lines with a reader that knows quotes, as a quoted cell may span several lines."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines)
        while not next(reader):
            pass
        for _ in range(record):
            next(reader)
        return reader.line_num + 1
