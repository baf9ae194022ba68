"""`crimson policy diff`: two versions as a change request."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from crimson_governance.changes.entry import Group
from crimson_governance.changes.of_policy import groups_of_changes
from crimson_governance.commands.options import Debug, Json
from crimson_governance.editions import DRAFT, any_edition
from crimson_governance.outcome import OK, guarded, print_data

EXAMPLES = """
Examples:

  crimson policy diff repository policies

  crimson policy diff old/policy.bundle new/policy.bundle --json
"""
STYLES = {"+": "green", "-": "red", "~": "yellow"}


def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A source, a repository or a bundle.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another.")],
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Show what changes from OLD to NEW: who, what, and what follows from it."""
    return guarded(lambda: _diff(old, new, as_json=json), as_json=json, debug=debug)


def _diff(old: Path, new: Path, *, as_json: bool) -> int:
    now = int(time.time())
    before = any_edition(old, now)
    # Two sources are two drafts: neither has a version yet.
    after = any_edition(new, now, before.policy.serial + 1 if before.policy.serial != DRAFT else DRAFT)
    groups = groups_of_changes(before, after)
    if as_json:
        print_data({"old": before.title, "new": after.title, "groups": [part.to_plain() for part in groups]})
        return OK
    console = Console(soft_wrap=True)
    console.print(Text(f"{before.title} → {after.title}", "bold"))
    show_groups(groups, console)
    return OK


def show_groups(groups: Sequence[Group], console: Console) -> None:
    """The changes for people."""
    if not groups:
        console.print("nothing changes")
    for part in groups:
        console.print(Text(part.title, "bold"))
        for change in part.changes:
            console.print(Text(f"  {change.line()}", STYLES[change.mark]))
        for line in part.text:
            console.print(Text(f"  {line}", STYLES.get(line[:1], "")))
