"""`crimson policy admit` and `crimson policy status`: changes to the roster."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from crimson_governance.admission import admit, read_request, with_status
from crimson_governance.commands.options import Debug, Folder, Json
from crimson_governance.files import read_file
from crimson_governance.outcome import OK, BadInput, guarded, print_data
from crimson_governance.roster_edits import listed_nodes, write_roster
from crimson_governance.source.folder import read_source
from crimson_protocol.enrolment import MAX_REQUEST
from crimson_protocol.policy.document import STATUSES

ADMIT_EXAMPLES = """
Examples:

  crimson policy admit policies requests/general-hospital.cbor

  crimson policy admit policies requests/a.cbor requests/b.cbor --json

Compare the words with the site before you sign. All requests are put in, or none.
"""
STATUS_EXAMPLES = """
Examples:

  crimson policy status policies general-hospital suspended

  crimson policy status policies general-hospital revoked --json

A revoked node stays in the list, and stays revoked.
"""


def admit_command(
    folder: Folder,
    requests: Annotated[list[Path], typer.Argument(metavar="REQUEST...", help="Files that sites signed.")],
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Put approved requests into roster.yaml: sites that join, change their keys, or leave."""
    return guarded(lambda: _admit(folder, requests, as_json=json), as_json=json, debug=debug)


def status_command(
    folder: Folder,
    node: Annotated[str, typer.Argument(help="A node of the roster.")],
    status: Annotated[str, typer.Argument(help="active, suspended or revoked.")],
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Change a node's status in roster.yaml. It counts once the next policy is published."""
    return guarded(lambda: _status(folder, node, status, as_json=json), as_json=json, debug=debug)


def _admit(folder: Path, paths: list[Path], *, as_json: bool) -> int:
    source = read_source(folder)
    roster, done = listed_nodes(source), []
    for path in paths:
        request = read_request(str(path), read_file(path, MAX_REQUEST))
        roster, admission = admit(source, request, roster)
        done.append(admission)
    write_roster(source, roster)
    if as_json:
        told = [{"node": item.entry.node, "what": item.what, "words": item.words} for item in done]
        print_data({"admitted": told, "nodes": len(roster)})
        return OK
    console = Console(soft_wrap=True)
    for item in done:
        console.print(Text(f"{item.entry.node} ({item.entry.organisation}) {item.what}: {item.words}"))
    console.print(Text(f"next: compare the words with each site, then crimson policy lint {folder}"))
    return OK


def _status(folder: Path, node: str, status: str, *, as_json: bool) -> int:
    if status not in STATUSES:
        raise BadInput(f"{status!r} is no status", f"one of {', '.join(STATUSES)}", "bad-status")
    source = read_source(folder)
    write_roster(source, with_status(source, node, status))
    if as_json:
        print_data({"node": node, "status": status})
    else:
        Console(stderr=True, soft_wrap=True).print(
            Text(f"{node}: {status}, once the next policy is published")
        )
    return OK
