"""`crimson policy init`: a source folder to start from."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from crimson_governance.commands.options import Debug, Folder, Json
from crimson_governance.founding import Founding, found
from crimson_governance.outcome import OK, BadInput, guarded, print_data

EXAMPLES = """
Examples:

  crimson policy init policies --federation north --governors alice,bob,carol --threshold 2 --keys-dir keys

  crimson policy init policies --federation north --governors alice,bob --threshold 2 --sim-root root.pub --json

Without --keys-dir each governor, and the publisher, makes a key with `crimson policy key new` and sends the .pub file,
which goes into governors/ under their name.
"""


def init(
    folder: Folder,
    federation: Annotated[str, typer.Option(help="The federation's name, for ever.")],
    governors: Annotated[str, typer.Option(help="Names of those who sign, with commas.")],
    threshold: Annotated[int, typer.Option(help="How many of them must sign.")],
    publisher: Annotated[str, typer.Option(help="Name of whoever keeps the policy fresh.")] = "publisher",
    operator: Annotated[
        list[str] | None, typer.Option(help="Who may start rounds, as NAME=PUBLICKEYHEX. May be repeated.")
    ] = None,
    measurement: Annotated[
        list[str] | None,
        typer.Option(help="An enclave build that nodes accept, in hexadecimal. May be repeated."),
    ] = None,
    sim_root: Annotated[
        list[Path] | None, typer.Option(help="Public keys of a software root that vouches for enclaves.")
    ] = None,
    keys_dir: Annotated[
        Path | None, typer.Option(help="Make everybody's keys, private halves there. For trials.")
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Make a policy's source: commented files, default access rules, and models to copy."""
    founding = Founding(
        federation=federation,
        governors=tuple(sorted(filter(None, (name.strip() for name in governors.split(","))))),
        threshold=threshold,
        publisher=publisher,
        operators=tuple(_operator(text) for text in operator or ()),
        measurements=tuple(measurement or ()),
        roots=tuple(sim_root or ()),
    )
    return guarded(lambda: _init(folder, founding, keys_dir, as_json=json), as_json=json, debug=debug)


def _operator(text: str) -> tuple[str, str]:
    name, _, key = text.partition("=")
    return name.strip(), key.strip().lower()


def _init(folder: Path, founding: Founding, keys: Path | None, *, as_json: bool) -> int:
    if not founding.federation.strip():
        raise BadInput("a federation needs a name", "give --federation NAME", "bad-name")
    written = found(folder, founding, keys)
    missing = [] if keys else [f"governors/{name}.pub" for name in (*founding.governors, founding.publisher)]
    if as_json:
        print_data({"folder": str(folder), "files": [str(path) for path in written], "missing": missing})
        return OK
    console = Console(stderr=True, soft_wrap=True)
    console.print(
        f"source of {founding.federation} in {folder}: {len(written)} files", highlight=False, markup=False
    )
    for name in missing:
        console.print(f"still missing: {folder / name}", highlight=False, markup=False)
    console.print(f"next: crimson policy lint {folder}", highlight=False, markup=False)
    return OK
