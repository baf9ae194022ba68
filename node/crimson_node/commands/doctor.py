"""`crimson node doctor`: what stands between this machine and its first round."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from crimson_node.commands.options import Debug, Home, Json, chosen_home
from crimson_node.doctor import Finding, examine
from crimson_node.outcome import FAILED, OK, guarded, print_data

EXAMPLES = """
Examples:

  crimson node doctor --home /srv/crimson/node

  HTTPS_PROXY=http://proxy.example.org:3128 crimson node doctor --json
"""
STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "skip": "dim"}


def doctor(home: Home = None, json: Json = False, debug: Debug = False) -> int:
    """Check folders, keys, data, clock, proxy, certificate and gateway. Exit code 1 where one fails."""
    return guarded(lambda: _doctor(chosen_home(home), as_json=json), as_json=json, debug=debug)


def _doctor(home: Path, *, as_json: bool) -> int:
    findings = examine(home)
    failed = [finding for finding in findings if finding.result == "fail"]
    if as_json:
        checks = [vars(finding) for finding in findings]
        warnings = [f"{finding.name}: {finding.detail}" for finding in findings if finding.result == "warn"]
        print_data({"checks": checks, "failed": len(failed)}, warnings, ok=not failed)
    else:
        _show(findings, Console())
    return FAILED if failed else OK


def _show(findings: list[Finding], console: Console) -> None:
    table = Table("check", "", "found", "what to do", title="crimson node doctor", title_justify="left")
    for finding in findings:
        # The gateway may have had a hand in the text: it is never read as markup.
        result = Text(finding.result, STYLES[finding.result])
        table.add_row(finding.name, result, Text(finding.detail), Text(finding.hint))
    console.print(table)
