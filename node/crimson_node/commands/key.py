"""`crimson node key`: the site's keys, as words, and new ones in their place."""

import os
from pathlib import Path
from typing import Annotated

import typer

from crimson_node.commands.options import Debug, Home, Json, chosen_home
from crimson_node.commands.terminal import plain_console, word_lines
from crimson_node.enrolment.key_files import words_of
from crimson_node.enrolment.rotation import NextKeys, Rotation
from crimson_node.enrolment.standing import EnrolmentFiles
from crimson_node.outcome import OK, guarded, print_data
from crimson_node.service.process import now
from crimson_protocol.wire.web import key_id

ROTATE_EXAMPLES = """
Examples:

  crimson node key rotate --home /srv/crimson/node

  crimson node key rotate --request-file rotation.cbor --json
"""
SHOW_EXAMPLES = """
Examples:

  crimson node key show --home /srv/crimson/node

  crimson node key show --json
"""

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The site's keys.")


@app.callback()
def key() -> None:
    """The site's keys."""


@app.command(epilog=ROTATE_EXAMPLES)
def rotate(
    request_file: Annotated[
        Path | None, typer.Option(help="Use no network: write the signed request here, to be carried.")
    ] = None,
    home: Home = None,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Make new keys and ask to be listed with them. The old ones work until a policy lists the new ones."""

    def work() -> int:
        files = EnrolmentFiles(chosen_home(home))
        rotation = Rotation(files, now, os.urandom)
        if request_file is not None:
            keys, state = rotation.write_request(request_file.absolute()), None
        else:
            keys, state = rotation.ask()
        words = words_of(keys)
        if json:
            facts = {
                "fingerprint": list(words),
                "key_id": key_id(keys.identity.public),
                "state": state.state if state else None,
                "approvals": state.approvals if state else None,
                "needed": state.needed if state else None,
                "request_file": str(request_file) if request_file else None,
            }
            print_data(facts)
            return OK
        console = plain_console()
        console.print("New keys are made. Read these words to the operator by phone:\n")
        for line in [*word_lines(words), ""]:
            console.print(line)
        if request_file:
            console.print(f"next: have {request_file} carried to the operator")
        console.print(
            "The node goes on with its old keys, and switches by itself once a policy lists the new."
        )
        return OK

    return guarded(work, as_json=json, debug=debug)


@app.command(epilog=SHOW_EXAMPLES)
def show(home: Home = None, json: Json = False, debug: Debug = False) -> int:
    """Show the fingerprint of the keys, and of those that a rotation asked for."""

    def work() -> int:
        files = EnrolmentFiles(chosen_home(home))
        current, following = files.home.keys(), NextKeys(files).read()
        if json:
            found = {"keys": current, "next": following}
            print_data(
                {
                    name: {"fingerprint": list(words_of(keys)), "key_id": key_id(keys.identity.public)}
                    if keys
                    else None
                    for name, keys in found.items()
                }
            )
            return OK
        console = plain_console()
        for title, keys in (("keys", current), ("asked for", following)):
            if keys is not None:
                console.print(f"{title}, key id {key_id(keys.identity.public)}")
                for line in word_lines(words_of(keys)):
                    console.print(line)
        return OK

    return guarded(work, as_json=json, debug=debug)
