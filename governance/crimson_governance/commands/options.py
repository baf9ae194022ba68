"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The policy's source folder.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON envelope on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
