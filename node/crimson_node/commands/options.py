"""Options that every node command has, and the default home."""

import os
from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[
    Path | None, typer.Option("--home", help="The node's folder.", show_default="$CRIMSON_HOME/node")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON envelope on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def chosen_home(home: Path | None) -> Path:
    """The given folder, else $CRIMSON_HOME/node, else the user's state folder."""
    if home is not None:
        return home.absolute()
    if chosen := os.environ.get("CRIMSON_HOME"):
        return Path(chosen).absolute() / "node"
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "crimson" / "node"
