"""`crimson policy publish`: a version that enough governors signed, for everybody to take."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from crimson_governance.commands.options import Debug, Folder, Json
from crimson_governance.commands.sign import PUBLISHED_MARK
from crimson_governance.drafts import draft_folder
from crimson_governance.files import read_private_key, refuse_within, write_file
from crimson_governance.outcome import OK, BadInput, guarded, print_data
from crimson_governance.published import BUNDLE, read_published
from crimson_governance.publishing import Publication, next_publication, refreshed, write_repository
from crimson_governance.source.folder import read_source
from crimson_governance.vocabulary import counted, date_of
from crimson_protocol.policy.update import anchor_of

EXAMPLES = """
Examples:

  crimson policy publish policies --repository repository --publisher-key keys/publisher.pem

  crimson policy publish policies --repository repository --publisher-key keys/publisher.pem --refresh --days 14 --json
"""
FRESH_DAYS = 7


def publish(
    folder: Folder,
    repository: Annotated[Path, typer.Option(help="The folder that everybody takes the policy from.")],
    publisher_key: Annotated[Path, typer.Option(help="The publisher's private key file.")],
    days: Annotated[int, typer.Option(help="For how long it counts as fresh.", min=1, max=3650)] = FRESH_DAYS,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Only vouch anew for what is published.")
    ] = False,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Publish the version that was signed. Refused with names while signatures are missing."""

    def work() -> int:
        return _publish(folder, repository, publisher_key, days, refresh=refresh, as_json=json)

    return guarded(work, as_json=json, debug=debug)


def _publish(
    folder: Path, repository: Path, key_file: Path, days: int, *, refresh: bool, as_json: bool
) -> int:
    refuse_within(key_file, folder)
    key, now = read_private_key(key_file), int(time.time())
    published = read_published(repository) if (repository / BUNDLE).exists() else None
    if refresh:
        if published is None:
            hint = "publish a version first, without --refresh"
            raise BadInput(f"nothing is published in {repository}", hint, "no-policy")
        made = refreshed(published, key, days, now)
    else:
        made = next_publication(read_source(folder), published, key, days, now)
    write_repository(repository, made)
    if not refresh:
        write_file(
            draft_folder(folder, made.policy.serial) / PUBLISHED_MARK, made.policy.digest().hex().encode()
        )
    _told(made, repository, as_json=as_json)
    return OK


def _told(made: Publication, repository: Path, *, as_json: bool) -> None:
    policy, anchor = made.policy, anchor_of(made.bundle.roots[0]).hex()
    if as_json:
        print_data(
            {
                "serial": policy.serial,
                "digest": policy.digest().hex(),
                "anchor": anchor,
                "roots": len(made.bundle.roots),
                "expires": date_of(policy.expires),
                "fresh_until": date_of(made.fresh_until),
                "repository": str(repository),
                "bundle": str(repository / BUNDLE),
            }
        )
        return
    console = Console(soft_wrap=True)
    console.print(Text(f"policy {policy.serial} of {policy.federation}: {repository / BUNDLE}"))
    console.print(Text(f"  digest {policy.digest().hex()}, until {date_of(policy.expires)}"))
    console.print(Text(f"  anchor {anchor} ({counted(len(made.bundle.roots), 'root')})"))
    console.print(Text(f"  fresh until {date_of(made.fresh_until)}: publish with --refresh before"))
