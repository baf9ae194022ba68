"""Tables on standard output: aligned for people on a terminal and for `cut` elsewhere, never read as markup."""

import sys
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 240


def plain_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], stream: TextIO = sys.stdout, title: str = ""
) -> None:
    """One line a row; a heading where there is no row, so that nothing looks like an error."""
    console = Console(file=stream)
    if not console.is_terminal:
        console.width = WIDE
    table = Table(*columns, title=title or None, title_justify="left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
