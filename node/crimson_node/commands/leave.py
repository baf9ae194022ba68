"""`crimson node leave`: out of the federation, for good."""

from typing import Annotated

import typer

from crimson_node.commands.options import Debug, Home, Json, chosen_home
from crimson_node.commands.terminal import answer_to, can_ask, plain_console
from crimson_node.enrolment.leaving import Leaving
from crimson_node.enrolment.standing import EnrolmentFiles
from crimson_node.outcome import OK, BadConfiguration, guarded, print_data
from crimson_node.service.process import now

EXAMPLES = """
Examples:

  crimson node leave --home /srv/crimson/node

  crimson node leave --yes general-hospital --json

Keys are removed, and this site's name is never used again. The journal and the receipts stay.
"""


def leave(
    yes: Annotated[
        str | None, typer.Option(metavar="NODE", help="The site's name, where nobody can be asked for it.")
    ] = None,
    home: Home = None,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Leave the federation for good: tells the governors, then removes this site's private keys."""

    def work() -> int:
        files = EnrolmentFiles(chosen_home(home))
        leaving = Leaving(files, now)
        settings = leaving.settings()
        _confirm(settings.node, yes)
        leaving.leave()
        if json:
            kept = [path.name for path in (files.home.journal, files.root / "receipts") if path.exists()]
            print_data({"node": settings.node, "federation": settings.federation, "left": True, "kept": kept})
        else:
            plain_console().print(f"{settings.node} has left; its keys are gone. Journal and receipts stay.")
        return OK

    return guarded(work, as_json=json, debug=debug)


def _confirm(node: str, given: str | None) -> None:
    """Raises BadConfiguration for another name than the site's, and where nobody can be asked."""
    if given is None:
        if not can_ask():
            hint = f"give --yes {node}"
            raise BadConfiguration("nobody can be asked here", hint, "leave-not-confirmed")
        given = answer_to(f"{node} leaves for good, and its keys are removed. Its name, to confirm")
    if given != node:
        hint = "nothing was sent, and nothing was removed"
        raise BadConfiguration(f"this is the home of {node}, not of {given}", hint, "leave-not-confirmed")
