"""`crimson policy show`: a policy as tables."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from crimson_governance.changes.of_models import summary
from crimson_governance.changes.of_policy import Edition, key_words
from crimson_governance.commands.options import Debug, Json
from crimson_governance.editions import any_edition
from crimson_governance.outcome import OK, guarded, print_data
from crimson_governance.vocabulary import date_of, listed

EXAMPLES = """
Examples:

  crimson policy show policies

  crimson policy show repository/policy.bundle --json
"""


def show(
    what: Annotated[Path, typer.Argument(metavar="DIR|BUNDLE", help="A source, a repository or a bundle.")],
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Show a policy: version, governors, nodes with their words, operators, models."""
    return guarded(lambda: _show(what, as_json=json), as_json=json, debug=debug)


def _show(what: Path, *, as_json: bool) -> int:
    facts = facts_of(any_edition(what, int(time.time())))
    if as_json:
        print_data(facts)
    else:
        _print(facts, Console())
    return OK


def facts_of(edition: Edition) -> dict[str, Any]:
    """Everything that a policy says, but for the texts of its access rules and the keys themselves."""
    policy, parties = edition.policy, edition.parties
    return {
        "from": edition.title,
        "anchor": edition.anchor.hex() if edition.anchor else None,
        "federation": policy.federation,
        "serial": policy.serial,
        "digest": policy.digest().hex(),
        "expires": date_of(policy.expires),
        "governors": [
            {"name": party.name, "words": key_words(party.public.ed25519, party.public.mldsa65)}
            for party in parties.governors
        ],
        "threshold": parties.threshold,
        "publisher": parties.publisher.name,
        "nodes": [
            {
                "node": entry.node,
                "organisation": entry.organisation,
                "kind": entry.kind,
                "status": entry.status,
                "words": key_words(entry.identity_key, entry.encryption_key),
            }
            for entry in policy.roster
        ],
        "operators": [
            {"name": item.name, "roles": list(item.roles), "key": item.key.hex()} for item in policy.operators
        ],
        "evidence": {
            "kinds": list(policy.evidence.kinds),
            "measurements": [item.hex() for item in policy.evidence.measurements],
            "measures": list(policy.evidence.measures),
        },
        "models": [{"model": rules.model, "summary": summary(rules)} for rules in policy.models],
    }


def _print(facts: dict[str, Any], console: Console) -> None:
    lines = [
        f"{facts['federation']}, policy {facts['serial'] or 'draft'}, until {facts['expires']}",
        f"digest {facts['digest']}",
        f"{facts['threshold']} of {listed([item['name'] for item in facts['governors']])} sign; "
        f"{facts['publisher']} publishes",
    ]
    if facts["anchor"]:
        lines.append(f"anchor {facts['anchor']} (of the first root: compare it with another governor's)")
    for line in lines:
        console.print(Text(line))
    _table(console, "Governors", facts["governors"], ("name", "words"))
    _table(console, "Nodes", facts["nodes"], ("node", "organisation", "kind", "status", "words"))
    _table(console, "Operators", facts["operators"], ("name", "roles", "key"))
    _table(console, "Models", facts["models"], ("model", "summary"))


def _table(console: Console, title: str, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    # A name that is cut short could be another one.
    table = Table(*(Column(name, overflow="fold") for name in columns), title=title, title_justify="left")
    for row in rows:
        values = [row[name] for name in columns]
        # Names in a policy come from many people: they are never read as markup.
        table.add_row(
            *(Text(", ".join(value) if isinstance(value, list) else str(value)) for value in values)
        )
    if rows:
        console.print(table)
