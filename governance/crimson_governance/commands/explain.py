"""`crimson policy explain`: a policy in plain words."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from crimson_governance.commands.options import Debug, Json
from crimson_governance.editions import any_edition
from crimson_governance.explaining import chosen
from crimson_governance.outcome import OK, guarded, print_data

EXAMPLES = """
Examples:

  crimson policy explain policies

  crimson policy explain policy.bundle --model survival --node general-hospital --json
"""


def explain(
    what: Annotated[Path, typer.Argument(metavar="DIR|BUNDLE", help="A source, a repository or a bundle.")],
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    node: Annotated[str | None, typer.Option(help="Only this node.")] = None,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Say in plain words who may do what, what is computed on which columns, and who sees what."""
    return guarded(lambda: _explain(what, model, node, as_json=json), as_json=json, debug=debug)


def _explain(what: Path, model: str | None, node: str | None, *, as_json: bool) -> int:
    sections = chosen(any_edition(what, int(time.time())), model, node)
    if as_json:
        print_data(
            {"sections": [{"title": part.title, "sentences": list(part.sentences)} for part in sections]}
        )
        return OK
    console = Console(soft_wrap=True)
    for part in sections:
        console.print(Text(part.title, "bold"))
        for sentence in part.sentences:
            # Names in a policy come from many people: they are never read as markup.
            console.print(Text(f"  {sentence}"))
        console.print()
    return OK
