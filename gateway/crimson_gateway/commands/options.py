"""Options of every command that asks a gateway."""

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[Path | None, typer.Option("--home", help="The gateway's folder, on the gateway's machine.")]
Url = Annotated[
    str | None, typer.Option("--url", help="Address of the gateway. Default: what gateway.json says.")
]
Authority = Annotated[
    Path | None,
    typer.Option("--ca", help="The gateway's tls/ca.pem. Default: the home's; elsewhere, this system's."),
]
Key = Annotated[
    Path | None, typer.Option("--key", help="Your operator's key, PEM. Default: keys/operator.pem.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON envelope on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
