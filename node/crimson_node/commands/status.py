"""`crimson node status`: where this site stands, and what the journal says it saw, signed and sent."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from crimson_node.commands.journal import reading_of
from crimson_node.commands.options import Debug, Home, Json, chosen_home
from crimson_node.commands.terminal import plain_console, word_lines
from crimson_node.enrolment.overview import overview
from crimson_node.enrolment.standing import EnrolmentFiles, Standing
from crimson_node.home import NodeHome
from crimson_node.journal import GENESIS, Reading
from crimson_node.outcome import OK, guarded, print_data
from crimson_node.seen import VectorSent, VerdictConfirmed, fold
from crimson_node.service.process import now

EXAMPLES = """
Examples:

  crimson node status --home /srv/crimson/node

  crimson node status --json
"""
SHOWN = 10
NO_JOURNAL = Reading((), GENESIS, 0)
TELLING = {
    "empty": "no site lives here",
    "foreign": "no site lives here",
    "joining": "the request is made; the gateway did not take it yet",
    "requested": "the request is with the gateway; no policy lists this site yet",
    "member": "member of the federation",
    "left": "this site has left the federation; its keys are gone",
}


def status(home: Home = None, json: Json = False, debug: Debug = False) -> int:
    """Show how the joining goes, the keys' fingerprint, policy, releases, and every vector that left the hospital."""
    return guarded(lambda: _status(chosen_home(home), as_json=json), as_json=json, debug=debug)


def _status(home: Path, *, as_json: bool) -> int:
    files = EnrolmentFiles(home)
    enrolment, warnings = overview(files, now)
    # A site that has just joined has no journal yet; a folder without a site has nothing to show.
    known = files.standing() not in (Standing.EMPTY, Standing.FOREIGN)
    reading = NO_JOURNAL if known and not files.home.journal.exists() else reading_of(home)
    facts = {"enrolment": enrolment, **facts_of(reading, files.home)}
    if as_json:
        print_data(facts, warnings)
        return OK
    for line in _enrolment_lines(enrolment):
        plain_console().print(line)
    if reading is not NO_JOURNAL:
        _show(facts, Console())
    for warning in warnings:
        plain_console(stderr=True).print(f"warning: {warning}")
    return OK


def _enrolment_lines(enrolment: dict[str, Any]) -> list[str]:
    lines = [TELLING[enrolment["standing"]]]
    if enrolment["state"]:
        approved = f"{enrolment['approvals']} of {enrolment['needed']} operators have approved"
        lines = [f"{enrolment['state']}: {approved}"]
    if enrolment["reason"]:
        lines.append(f"reason: {enrolment['reason']}")
    for title, name in (("fingerprint", "fingerprint"), ("asked for", "next_fingerprint")):
        if enrolment[name]:
            lines += [f"{title}:", *word_lines(enrolment[name])]
    return lines


def facts_of(reading: Reading, home: NodeHome) -> dict[str, Any]:
    """What the journal says, for people and programs. Digests and sizes; no data."""
    seen = fold(entry for _, entry in reading.entries)
    confirmed = [
        {"time": _time(time), "model": entry.model, "round": entry.round, "accepted": len(entry.accepted)}
        for time, entry in reading.entries
        if isinstance(entry, VerdictConfirmed)
    ]
    left = [
        {
            "time": _time(time),
            "model": entry.model,
            "round": entry.round,
            "attempt": entry.attempt,
            "sha256": entry.digest.hex(),
            "bytes": entry.length,
        }
        for time, entry in reading.entries
        if isinstance(entry, VectorSent)
    ]
    released = [
        {
            "model": entry.model,
            "round": entry.round,
            "artifact": entry.output.hex(),
            "receipt": entry.receipt_digest.hex(),
            "saved": home.artifact(entry.model).is_file(),
        }
        for entry in seen.released.values()
    ]
    return {
        "policy": {"serial": seen.policy_serial, "digest": seen.policy_digest.hex()},
        "epoch": seen.endorsed[0],
        "log_size": seen.checkpoint.size if seen.checkpoint else 0,
        "released": released,
        "confirmed": confirmed,
        "left_the_hospital": left,
        "entries": len(reading.entries),
    }


def _show(facts: dict[str, Any], console: Console) -> None:
    policy = facts["policy"]
    if policy["serial"]:
        console.print(
            f"policy {policy['serial']} ({policy['digest'][:16]}…), enclave epoch {facts['epoch']}, "
            f"log of {facts['log_size']} leaves",
            highlight=False,
        )
    else:
        console.print("no policy was followed yet", highlight=False)
    rounds = Table("model", "round", "artifact", "saved", title="Last releases", title_justify="left")
    for item in facts["released"]:
        rounds.add_row(
            item["model"], str(item["round"]), item["artifact"][:16], "yes" if item["saved"] else "no"
        )
    left = facts["left_the_hospital"]
    title = f"Left the hospital, masked: {len(left)} vectors, {sum(item['bytes'] for item in left)} bytes"
    sent = Table("time", "model", "round", "bytes", "sha256", title=title, title_justify="left")
    for item in left[-SHOWN:]:
        place = f"{item['round']}.{item['attempt']}"
        sent.add_row(item["time"], item["model"], place, str(item["bytes"]), item["sha256"][:16])
    for table in (rounds, sent):
        if table.row_count:
            console.print(table)
    console.print(f"{len(facts['confirmed'])} verdicts confirmed, one signature each", highlight=False)


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
