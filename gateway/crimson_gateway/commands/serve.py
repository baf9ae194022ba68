"""`crimson gateway serve`: run the gateway until it is told to stop."""

import asyncio
import json
import os
from pathlib import Path
from typing import Annotated

import typer

from crimson_gateway.closed import close_imports
from crimson_gateway.commands.outcome import guarded
from crimson_gateway.failure import OK
from crimson_gateway.homes import home_folder
from crimson_gateway.logs import configure_logs
from crimson_gateway.settings import read_settings


def serve(
    home: Annotated[Path | None, typer.Option(help="The gateway's folder.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of the metrics; 0 takes a free one.")] = None,
    enclave_socket: Annotated[Path | None, typer.Option(help="The enclave's Unix socket.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="The ready line as JSON.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> int:
    """Serve until SIGTERM. Prints one line on stdout once it accepts requests; logs go to stderr."""
    flags = {
        "host": host,
        "port": port,
        "metrics_port": metrics_port,
        "enclave_socket": str(enclave_socket) if enclave_socket else None,
    }

    def announce(url: str, metrics: str) -> None:
        ready = {"ready": True, "url": url, "metrics": metrics}
        print(json.dumps(ready) if json_ else f"ready: {url} (metrics on {metrics})", flush=True)

    def work() -> int:
        close_imports()
        # The server is half of what a command would load.
        from crimson_gateway.running import serve as run  # noqa: PLC0415

        folder = home_folder(home)
        settings = read_settings(folder, os.environ, flags)
        asyncio.run(run(folder, settings, configure_logs(settings.log_level), announce))
        return OK

    return guarded(work, as_json=json_, debug=debug)
