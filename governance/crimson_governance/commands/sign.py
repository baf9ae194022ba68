"""`crimson policy sign`: one governor's signature on the next version."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from crimson_governance.changes.entry import Group
from crimson_governance.changes.of_policy import Edition, groups_of_changes
from crimson_governance.commands.diff import show_groups
from crimson_governance.commands.lint import unsound
from crimson_governance.commands.options import Debug, Folder, Json, Yes
from crimson_governance.commands.show import facts_of
from crimson_governance.drafts import POLICY, Draft, draft_folder
from crimson_governance.files import read_private_key, refuse_within
from crimson_governance.linting import Report, lint
from crimson_governance.outcome import OK, BadInput, Refused, guarded, print_data
from crimson_governance.parties import parties_of
from crimson_governance.published import Published, bundle_path, read_published
from crimson_governance.signing import Count, counts, open_draft, sign_draft
from crimson_governance.source.folder import read_source
from crimson_governance.vocabulary import date_of
from crimson_protocol.policy.document import MAX_POLICY, Policy

EXAMPLES = """
Examples:

  crimson policy sign policies --key keys/alice.pem

  crimson policy sign policies --key keys/bob.pem --repository repository --yes --json

Offline, by file: carry the folder with its drafts to the next governor, or send back drafts/VERSION/signatures/NAME.
--repository names what is published now; for the first version there is nothing yet.
"""


def sign(
    folder: Folder,
    key: Annotated[Path, typer.Option(help="Your private key file.")],
    repository: Annotated[
        Path | None, typer.Option(help="What is published now: its folder or bundle.")
    ] = None,
    yes: Yes = False,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Sign the exact bytes that this source means, after seeing what they change."""

    def work() -> int:
        return _sign(folder, key, repository, yes=yes, as_json=json)

    return guarded(work, as_json=json, debug=debug)


def _sign(folder: Path, key_file: Path, repository: Path | None, *, yes: bool, as_json: bool) -> int:
    refuse_within(key_file, folder)
    key = read_private_key(key_file)
    source = read_source(folder)
    # Before the first version there is no bundle where it will be.
    published = read_published(repository) if repository and bundle_path(repository).exists() else None
    if published is None:
        _refuse_forgotten_repository(folder)
    now = int(time.time())
    draft = open_draft(source, published, now)
    edition = Edition(
        f"policy {draft.serial}", Policy.from_bytes(draft.documents[POLICY], MAX_POLICY), parties_of(source)
    )
    report = lint(edition, now)
    if report.reasons:
        failure = unsound(report)
        raise Refused(failure.message, failure.hint, failure.code)
    groups = groups_of_changes(published.edition, edition) if published else []
    _show(edition, published, groups, report, as_json=as_json)
    _confirm(edition, yes=yes)
    path = sign_draft(source, published, draft, key)
    found = counts(draft_folder(folder, draft.serial), draft, edition.parties, published)
    _told(edition, path, draft, groups, found, report, as_json=as_json)
    return OK


def _refuse_forgotten_repository(folder: Path) -> None:
    """A second first version would be refused by everybody who knows the first one."""
    if any((folder / "drafts").glob(f"*/{PUBLISHED_MARK}")):
        hint = "give --repository with the folder or bundle that is published now"
        raise BadInput("a version of this source was published before", hint, "repository-needed")


PUBLISHED_MARK = "published"


def _show(
    edition: Edition, published: Published | None, groups: list[Group], report: Report, *, as_json: bool
) -> None:
    if as_json:
        return
    console = Console(stderr=True, soft_wrap=True)
    if published:
        console.print(Text(f"{published.edition.title} → {edition.title}", "bold"))
        console.print(Text(f"anchor {published.anchor.hex()}"))
        show_groups(groups, console)
    else:
        console.print(Text(f"{edition.title}, the first: nothing is published yet", "bold"))
    for warning in report.warnings:
        console.print(Text(f"warning: {warning}", "yellow"))
    console.print(Text(f"until {date_of(edition.policy.expires)}, digest {edition.policy.digest().hex()}"))


def _confirm(edition: Edition, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        hint = "read what crimson policy diff shows, then give --yes"
        raise BadInput("nobody can be asked here whether to sign", hint, "not-confirmed")
    if not typer.confirm(f"Sign {edition.title} of {edition.policy.federation}?", err=True):
        raise BadInput("not signed", "edit the source, and sign again", "not-confirmed")


def _told(
    edition: Edition,
    path: Path,
    draft: Draft,
    groups: list[Group],
    found: list[Count],
    report: Report,
    *,
    as_json: bool,
) -> None:
    enough = all(count.enough for count in found)
    if as_json:
        data = {
            "serial": draft.serial,
            "digest": facts_of(edition)["digest"],
            "signature": str(path),
            "changes": [part.to_plain() for part in groups],
            "counts": [{**vars(count), "enough": count.enough} for count in found],
            "enough": enough,
        }
        print_data(data, report.warnings)
        return
    console = Console(soft_wrap=True)
    console.print(Text(f"signed: {path}"))
    for count in found:
        console.print(Text(f"  {count.sentence()}"))
    if enough:
        console.print(Text("enough signatures; next: crimson policy publish"))
