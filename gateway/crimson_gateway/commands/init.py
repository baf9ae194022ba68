"""`crimson gateway init`: certificates, settings and an operator's key in a fresh home folder."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from crimson_gateway.commands.outcome import guarded, print_data
from crimson_gateway.failure import OK
from crimson_gateway.files import make_folder, write_file
from crimson_gateway.homes import home_folder
from crimson_gateway.operator_keys import make_operator_key
from crimson_gateway.settings import FILE, SettingsFault, read_settings
from crimson_gateway.tls import TlsFiles, check_certificate, ensure_certificate


def init(
    home: Annotated[Path | None, typer.Option(help="The gateway's folder.")] = None,
    host: Annotated[str, typer.Option(help="Name or address under which hospitals reach it.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8443,
    cert: Annotated[Path | None, typer.Option(help="Your own certificate chain, PEM.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON envelope on stdout.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> int:
    """Prepare a gateway. Without --cert it makes its own authority; hospitals are then given tls/ca.pem."""
    return guarded(
        lambda: _init(home_folder(home), host, port, cert, key, as_json=json_), as_json=json_, debug=debug
    )


def _init(home: Path, host: str, port: int, cert: Path | None, key: Path | None, *, as_json: bool) -> int:
    if (home / FILE).exists():
        raise SettingsFault(
            f"{home} is a gateway's home already", "edit gateway.json, or give another --home"
        )
    if (cert is None) is not (key is None):
        raise SettingsFault("--cert and --key go together", "give both or neither")
    make_folder(home)
    values: dict[str, Any] = {"host": host, "port": port}
    authority = None
    if cert is not None and key is not None:
        check_certificate(TlsFiles(cert, key))
        values |= {"certificate": str(cert.resolve()), "private_key": str(key.resolve())}
    else:
        ensure_certificate(home, (host,))
        authority = str(home / "tls" / "ca.pem")
    operator = home / "keys" / "operator.pem"
    public = make_operator_key(operator)
    # Last, so that an interrupted init can be run again.
    write_file(home / FILE, _lines(values))
    read_settings(home, os.environ)
    data = {
        "home": str(home),
        "authority": authority,
        "operator_key": str(operator),
        "operator_public": public.hex(),
    }
    if as_json:
        print_data(data)
    else:
        console = Console(stderr=True, soft_wrap=True)
        console.print(f"gateway prepared in {home}", highlight=False)
        console.print(f"operator's public key, for the governors: {public.hex()}", highlight=False)
        hint = (
            "next: put root.json and the published repository as policy/ there, then `crimson gateway serve`"
        )
        console.print(hint, highlight=False)
    return OK


def _lines(values: object) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()
