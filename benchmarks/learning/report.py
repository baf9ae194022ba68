"""`python -m benchmarks.learning.report`: what attacks, privacy and filters cost a model, beside its goals.

Prints one table per figure and writes build/bench/learning.json. Exit code 1 where a goal is missed. A section is
a module with `rows(seeds, quick)`: dictionaries that name their `figure` and say in `ok` whether its goal is met.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

REPORT = Path("build/bench/learning.json")
SECTIONS = ("buckets", "sketch_filter", "record_privacy")
SEEDS = (0, 1, 2)

Row = Mapping[str, Any]


def measure(section: str, seeds: Sequence[int], quick: bool) -> list[Row]:
    """The rows of one section. Its module is loaded only here: each takes libraries of its own."""
    rows: list[Row] = importlib.import_module(f"benchmarks.learning.{section}").rows(seeds, quick)
    for row in rows:
        if not isinstance(row.get("figure"), str) or not isinstance(row.get("ok"), bool):
            raise TypeError(f"a row of {section} does not name its figure or say whether it is ok: {row}")
    return rows


def tables(rows: Sequence[Row]) -> list[Table]:
    """One table for each run of rows of one figure; its columns are those that any of its rows has."""
    return [
        _table(figure, list(group)) for figure, group in groupby(rows, key=lambda row: str(row["figure"]))
    ]


def _table(figure: str, rows: Sequence[Row]) -> Table:
    columns = list(dict.fromkeys(column for row in rows for column in row if column not in ("figure", "ok")))
    shown = Table(*columns, "", title=figure)
    for row in rows:
        shown.add_row(*(_cell(row.get(column)) for column in columns), "" if row["ok"] else "[red]missed[/]")
    return shown


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write(sections: Mapping[str, Sequence[Row]], path: Path) -> None:
    """The rows by section, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(sections, indent=2) + "\n")


def run(
    names: Sequence[str], seeds: Sequence[int], quick: bool, path: Path, say: Callable[[object], None]
) -> bool:
    """Measure, say and write the sections of these names; whether every goal was met."""
    measured: dict[str, Sequence[Row]] = {}
    for name in names:
        measured[name] = measure(name, seeds, quick)
        for table in tables(measured[name]):
            say(table)
        write(measured, path)
    missed = sum(not row["ok"] for rows in measured.values() for row in rows)
    say(f"{sum(map(len, measured.values()))} figures, {missed} goals missed")
    return not missed


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learning.report", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--only", action="append", choices=SECTIONS, help="this section; again for another")
    parser.add_argument(
        "--seeds", type=int, default=len(SEEDS), help="how many seeds every figure is a mean of"
    )
    parser.add_argument("--quick", action="store_true", help="few rounds: does it run at all")
    parser.add_argument("--out", type=Path, default=REPORT, help="where the JSON report goes")
    given = parser.parse_args(arguments)
    seeds, names = range(given.seeds), given.only or SECTIONS
    return 0 if run(names, seeds, given.quick, given.out, Console().print) else 1


if __name__ == "__main__":
    sys.exit(main())
