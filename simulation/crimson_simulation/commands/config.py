"""`crimson config show`: every setting, its value, and where it came from."""

import os
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from crimson_node.application import run_app
from crimson_node.outcome import OK, guarded, print_data
from crimson_simulation.settings import read_settings

EXAMPLES = """
Examples:

  crimson config show --origin

  FL_NUM_ROUNDS=15 crimson config show --json
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


@app.callback()
def config() -> None:
    """Settings from fl_config.json and FL_* variables."""


@app.command(epilog=EXAMPLES)
def show(
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value came from.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON envelope on stdout.")] = False,
) -> int:
    """Show the settings that commands run here would use. Flags override all of them."""
    return guarded(lambda: _show(origin=origin, as_json=json), as_json=json)


def _show(*, origin: bool, as_json: bool) -> int:
    settings = read_settings(os.environ)
    if as_json:
        print_data(
            {name: {"value": setting.value, "origin": setting.origin} for name, setting in settings.items()}
        )
        return OK
    table = Table(show_header=False)
    for name, setting in settings.items():
        table.add_row(
            name, "–" if setting.value is None else str(setting.value), *([setting.origin] if origin else [])
        )
    Console().print(table)
    return OK


def main(argv: list[str]) -> int:
    """Entry point of the launcher."""
    return run_app(app, argv, "crimson config")
