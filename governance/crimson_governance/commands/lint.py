"""`crimson policy lint`: whether a source is sound, and what its numbers come to."""

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from crimson_governance.commands.options import Debug, Folder, Json
from crimson_governance.editions import source_edition
from crimson_governance.figures import odds_in_words
from crimson_governance.linting import ModelReport, Report, lint
from crimson_governance.outcome import OK, REFUSED_BY_POLICY, Failure, guarded, print_data, print_failure
from crimson_governance.source.folder import read_source
from crimson_governance.vocabulary import DISCLOSURES, counted

EXAMPLES = """
Examples:

  crimson policy lint policies

  crimson policy lint policies --json

Exit code 4 where a file cannot be read as what it should be, 5 where the policy is unsound. Warnings change nothing.
"""


def lint_command(folder: Folder, json: Json = False, debug: Debug = False) -> int:
    """Check a source: every reason why it is unsound, or each model's figures and what to think twice about."""
    return guarded(lambda: _lint(folder, as_json=json), as_json=json, debug=debug)


def _lint(folder: Path, *, as_json: bool) -> int:
    now = int(time.time())
    report = lint(source_edition(read_source(folder), now=now), now)
    failure = unsound(report) if report.reasons else None
    if as_json:
        print_data(_plain(report), report.warnings, failure)
    else:
        show(report, Console(soft_wrap=True))
        if failure is not None:
            print_failure(failure, as_json=False)
    return REFUSED_BY_POLICY if failure else OK


def unsound(report: Report) -> Failure:
    """The failure of a policy with reasons against it."""
    many = counted(len(report.reasons), "reason")
    text = f"{many} against this policy:\n" + "\n".join(report.reasons)
    hint = "docs/PROTOCOL.md, Unsound combinations, has a row for each rule"
    return Failure(REFUSED_BY_POLICY, "unsound-policy", text, hint)


def show(report: Report, console: Console) -> None:
    """The report for people."""
    for model in report.models:
        _show_model(model, console)
    for warning in report.warnings:
        console.print(Text(f"warning: {warning}", "yellow"))
    if not report.reasons:
        models = counted(len(report.models), "model")
        console.print(Text(f"sound: {models}, {counted(len(report.warnings), 'warning')}", "green"))


def _show_model(model: ModelReport, console: Console) -> None:
    title = f"{model.model}: {counted(model.nodes, 'node')}"
    table = Table("n", "c", "t", "q", "least", "may drop", "and c refuse", title=title, title_justify="left")
    for row in model.cohorts:
        beside = str(row.drops_beside_refusals) if row.drops_beside_refusals >= 0 else "lost"
        numbers = (row.n, row.corrupt, row.threshold, row.quorum, row.least)
        table.add_row(*map(str, numbers), str(row.drops) if row.drops >= 0 else "lost", beside)
    console.print(table)
    if model.buckets is not None:
        buckets = model.buckets
        console.print(
            f"  {counted(buckets.count, 'bucket')} of {buckets.size}; at least {buckets.floor} accepted in each; "
            f"one too corrupt: {odds_in_words(buckets.odds)}",
            highlight=False,
        )
    for sentence in model.words:
        console.print(Text(f"  {sentence}"))
    for name in model.disclosures:
        console.print(f"  declared: {name}: {DISCLOSURES[name]}", highlight=False)


def _plain(report: Report) -> dict[str, Any]:
    return {
        "sound": not report.reasons,
        "reasons": list(report.reasons),
        "models": [model.to_plain() for model in report.models],
    }
