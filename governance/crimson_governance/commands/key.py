"""`crimson policy key`: key pairs of governors and of the publisher."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from crimson_governance.changes.of_policy import key_words
from crimson_governance.commands.options import Debug, Json
from crimson_governance.files import read_private_key, write_file, write_private_key
from crimson_governance.outcome import OK, BadInput, guarded, print_data
from crimson_governance.public_files import write_public
from crimson_protocol.crypto.verify import DualPublic
from crimson_protocol.secret.keys import DualKey

NEW_EXAMPLES = """
Examples:

  crimson policy key new alice --out keys/alice.pem

  crimson policy key new publisher --out /media/safe/publisher.pem --json

Writes the private key, and beside it the .pub file that the others get. Read them the words by phone.
"""
PUBLIC_EXAMPLES = """
Examples:

  crimson policy key public keys/alice.pem --out policies/governors/alice.pub

  crimson policy key public enclave/keys/root.pem --out root.pub --json
"""

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Key pairs: Ed25519 and ML-DSA-65, both of which sign."
)


@app.callback()
def key() -> None:
    """Key pairs: Ed25519 and ML-DSA-65, both of which sign."""


@app.command(epilog=NEW_EXAMPLES)
def new(
    name: Annotated[str, typer.Argument(help="Whose key it is, as federation.yaml calls them.")],
    out: Annotated[Path, typer.Option(help="Where the private key goes; the public one is put beside it.")],
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Make a key pair. The private file is for its owner alone, and must not lie in the source folder."""
    return guarded(lambda: _new(name, out, as_json=json), as_json=json, debug=debug)


@app.command(epilog=PUBLIC_EXAMPLES)
def public(
    private: Annotated[Path, typer.Argument(metavar="KEY", help="A private key file.")],
    out: Annotated[Path, typer.Option(help="Where the public keys go.")],
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Write the public half of a private key, also of an enclave's software root."""
    return guarded(lambda: _public(private, out, as_json=json), as_json=json, debug=debug)


def _new(name: str, out: Path, *, as_json: bool) -> int:
    beside = out.with_suffix(".pub")
    if out == beside or beside.exists():
        raise BadInput(f"{beside} is there already", "give another --out, ending in .pem", "key-exists")
    made = DualKey.fresh(os.urandom)
    out.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private_key(out, made)
    write_file(beside, write_public(made.public))
    return _told(
        f"key of {name}", made.public, {"name": name, "private": str(out), "public": str(beside)}, as_json
    )


def _public(private: Path, out: Path, *, as_json: bool) -> int:
    found = read_private_key(private).public
    write_file(out, write_public(found))
    return _told(f"public half of {private.name}", found, {"public": str(out)}, as_json)


def _told(what: str, found: DualPublic, data: dict[str, str], as_json: bool) -> int:
    words = key_words(found.ed25519, found.mldsa65)
    if as_json:
        print_data({**data, "words": words})
        return OK
    console = Console(soft_wrap=True)
    console.print(f"{what}: {data['public']}", highlight=False, markup=False)
    console.print(f"words: {words}", highlight=False, markup=False)
    return OK
