"""`crimson node join`: from a token to a request that operators and governors can say yes to."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from crimson_node.commands.options import Debug, Home, Json, chosen_home
from crimson_node.commands.terminal import can_ask, plain_console, says_yes, word_lines
from crimson_node.enrolment.beginning import Choices, begin
from crimson_node.enrolment.errors import Declined, StillWaiting
from crimson_node.enrolment.joining import Join, Standpoint
from crimson_node.enrolment.standing import EnrolmentFiles, Standing
from crimson_node.enrolment.token_source import chosen_source, read_invited, refuse_token_text
from crimson_node.enrolment.waiting import wait as wait_for_decision
from crimson_node.outcome import OK, BadConfiguration, guarded, print_data, print_failure
from crimson_node.service.process import now

EXAMPLES = """
Examples:

  crimson node join --token-file join.token --data units.csv

  crimson node join --token-file - --home /srv/crimson/node --wait 600 <join.token

  crimson node join --token-file join.token --request-file request.cbor

The token comes from a file, from stdin (-), or from the file that CRIMSON_JOIN_TOKEN_FILE names; never from
the command line, which every user of the machine can read. Killed or cut off, it can simply be run again.
"""


def join(
    context: typer.Context,
    token_file: Annotated[
        str | None, typer.Option(help="The token's file, - for stdin.", show_default="of the environment")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The CSV file to train on; can be chosen later.")] = None,
    proxy: Annotated[
        str | None, typer.Option(help="http://HOST:PORT of the proxy.", show_default="HTTPS_PROXY")
    ] = None,
    inspection_ca: Annotated[
        Path | None, typer.Option(help="Authority (PEM) of a proxy that opens TLS.")
    ] = None,
    request_file: Annotated[
        Path | None, typer.Option(help="Use no network: write the signed request here, to be carried.")
    ] = None,
    wait: Annotated[float, typer.Option(min=0, help="Wait so many seconds for the operators' word.")] = 0,
    yes: Annotated[bool, typer.Option("--yes", "--no-input", help="Do not ask before joining.")] = False,
    home: Home = None,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Join a federation with a token: makes the keys here, verifies the policy, and asks to be listed."""
    started = time.monotonic()

    def work() -> int:
        _refuse_arguments(context.args)
        source, choices = chosen_source(token_file), Choices(data, proxy, inspection_ca)
        invited = read_invited(source) if source else None
        files = EnrolmentFiles(chosen_home(home))
        joining = begin(files, invited, choices, now, os.urandom)
        _confirm(joining, asks=not (yes or json))
        point = _carry_out(joining, request_file)
        facts = {**_facts(joining, point, request_file), "seconds": round(time.monotonic() - started, 2)}
        warnings = invited.warnings if invited else ()
        if not json:
            _tell(facts, warnings)
        if wait and request_file is None and not point.listed:
            return _wait(joining, wait, facts, warnings, as_json=json)
        if json:
            print_data(facts, warnings)
        return OK

    return guarded(work, as_json=json, debug=debug)


def _refuse_arguments(arguments: list[str]) -> None:
    """Whatever stands on the command line is not repeated: it may be a token."""
    for argument in arguments:
        refuse_token_text(argument)
    if arguments:
        raise BadConfiguration("an argument was given that no option takes", "see --help", "usage")


def _carry_out(joining: Join, request_file: Path | None) -> Standpoint:
    if joining.standing is Standing.MEMBER:
        return joining.already()
    if request_file is not None:
        return joining.write_request(request_file.absolute())
    return joining.ask()


def _confirm(joining: Join, *, asks: bool) -> None:
    """Show on a terminal what is joined, and ask. Raises Declined."""
    if not asks or joining.standing is not Standing.EMPTY or not can_ask():
        return
    invitation, shown = joining.invitation, Table(show_header=False, box=None)
    for name, value in (
        ("federation", invitation.federation),
        ("gateway", joining.settings.gateway),
        ("site", f"{invitation.node}, of {invitation.organisation}"),
        ("role", invitation.kind.replace("_", " ")),
        ("invited by", invitation.issuer),
    ):
        shown.add_row(name, value)
    plain_console(stderr=True).print(shown)
    if not says_yes("Join?"):
        raise Declined("nothing was made, and nothing was sent", "run the command again to join")


def _wait(
    joining: Join, seconds: float, facts: dict[str, Any], warnings: Sequence[str], *, as_json: bool
) -> int:
    """Wait for people; the words were shown before, so that they have something to compare."""
    failure = None
    with Console(stderr=True).status("waiting for the operators") as shown:
        try:
            point = wait_for_decision(joining, seconds, lambda point: shown.update(_progress(point)))
            facts |= _progress_facts(point)
        except StillWaiting as error:
            failure = error.failure
    if as_json:
        print_data(facts, warnings, failure)
    elif failure is not None:
        return print_failure(failure, as_json=False)
    else:
        plain_console().print(f"{facts['node']}: {facts['state']}")
    return failure.exit_code if failure else OK


def _progress(point: Standpoint) -> str:
    state = point.state
    return f"{state.state}: {state.approvals} of {state.needed} operators" if state else ""


def _progress_facts(point: Standpoint) -> dict[str, Any]:
    state = point.state
    return {
        "state": "listed" if point.listed else state.state if state else None,
        "approvals": state.approvals if state else None,
        "needed": state.needed if state else None,
        "listed": point.listed,
    }


def _facts(joining: Join, point: Standpoint, request_file: Path | None) -> dict[str, Any]:
    invitation = joining.invitation
    return {
        "federation": invitation.federation,
        "gateway": joining.settings.gateway,
        "node": invitation.node,
        "organisation": invitation.organisation,
        "kind": invitation.kind,
        "home": str(joining.home.files.root),
        **_progress_facts(point),
        "fingerprint": list(point.words),
        "request_file": str(request_file) if request_file else None,
    }


def _tell(facts: dict[str, Any], warnings: Sequence[str]) -> None:
    for line in _lines(facts):
        plain_console().print(line)
    for warning in warnings:
        plain_console(stderr=True).print(f"warning: {warning}")


def _lines(facts: dict[str, Any]) -> list[str]:
    site, run = f"{facts['node']} in {facts['federation']}", f"crimson node run --home {facts['home']}"
    if facts["listed"]:
        return [f"{site} is a member.", "", *word_lines(facts["fingerprint"]), "", f"next: {run}"]
    words = ["Read these words to the operator by phone:", "", *word_lines(facts["fingerprint"]), ""]
    if facts["request_file"] and facts["state"] is None:
        carry = (
            f"next: have {facts['request_file']} carried to the operator. Once the governors have listed you:"
        )
        return [
            f"{site}: the request is written.",
            *words,
            carry,
            f"crimson node join --home {facts['home']}",
        ]
    asked = f"{site}: {facts['state']}, {facts['approvals']} of {facts['needed']} operators have approved."
    return [
        asked,
        *words,
        "next: the operators compare the words, and the governors sign; this waits for both:",
        run,
    ]
