"""`crimson node journal verify`: whether the file still says what the node wrote."""

from pathlib import Path

import typer
from rich.console import Console

from crimson_node.commands.options import Debug, Home, Json, chosen_home
from crimson_node.home import NodeHome
from crimson_node.journal import Reading, read_journal
from crimson_node.outcome import OK, BadConfiguration, guarded, print_data

EXAMPLES = """
Examples:

  crimson node journal verify --home /srv/crimson/node

  crimson node journal verify --json
"""

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="The record of what the node saw, sent and signed."
)


@app.callback()
def journal() -> None:
    """The record of what the node saw, sent and signed."""


@app.command(epilog=EXAMPLES)
def verify(home: Home = None, json: Json = False, debug: Debug = False) -> int:
    """Check the chain from the first line to the last. Exit code 9 where it is broken."""
    return guarded(lambda: _verify(chosen_home(home), as_json=json), as_json=json, debug=debug)


def reading_of(home: Path) -> Reading:
    """The verified journal of a home. Raises BadConfiguration where there is none."""
    path = NodeHome(home).journal
    if not path.is_file():
        raise BadConfiguration(f"{path} is not there", "give the node's folder with --home", "no-journal")
    return read_journal(path)


def _verify(home: Path, *, as_json: bool) -> int:
    reading = reading_of(home)
    facts = {
        "entries": len(reading.entries),
        "head": reading.head.hex(),
        "torn_bytes": reading.torn,
        "last": reading.entries[-1][0] if reading.entries else None,
    }
    warnings = ["the last line was cut off by a kill; its message was never sent"] if reading.torn else []
    if as_json:
        print_data(facts, warnings)
        return OK
    console = Console()
    console.print(f"{facts['entries']} entries, chain whole, head {facts['head']}", highlight=False)
    for warning in warnings:
        console.print(f"warning: {warning}", highlight=False)
    return OK
