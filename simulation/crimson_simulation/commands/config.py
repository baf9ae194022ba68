"""`crimson config show`: every setting, its value, and where it came from."""

import os
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from crimson_simulation.outcome import OK, failure_of, print_data, print_failure, run_app
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
    try:
        settings = read_settings(os.environ)
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        return print_failure(failure, as_json=json)
    if json:
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
