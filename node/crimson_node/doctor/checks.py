"""The checks in their order: folder, keys, data, space, then the network from the inside out."""

import shutil
from collections.abc import Callable
from pathlib import Path

from crimson_node.doctor.finding import Finding
from crimson_node.doctor.network import examine_network
from crimson_node.home import NodeHome
from crimson_node.journal import read_journal
from crimson_node.outcome import CommandFailed, failure_of
from crimson_node.settings import NodeSettings
from crimson_protocol.errors import CrimsonError

LITTLE_SPACE = 1 << 30
"""Bytes below which a node of an ordinary model may run out of room for vector, artifact and journal."""


def examine(home: Path) -> list[Finding]:
    """Every check of the node that lives in `home`; none raises."""
    place = NodeHome(home)
    findings = [_permissions(place)]
    settings = _settings(place, findings)
    findings.append(_tried("keys", lambda: _keys(place)))
    findings.append(_tried("journal", lambda: _journal(place)))
    findings.append(_tried("disk", lambda: _space(home)))
    if settings is None:
        skipped = ("data", "proxy", "tls", "gateway", "clock")
        findings += [Finding(name, "skip", "node.json cannot be used") for name in skipped]
        return findings
    findings.append(_tried("data", lambda: _data(settings)))
    return findings + examine_network(settings)


def _tried(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except (CommandFailed, CrimsonError, OSError) as error:
        return _failed(name, error)


def _failed(name: str, error: Exception) -> Finding:
    failure = failure_of(error)
    text, hint = (failure.message, failure.hint) if failure else (type(error).__name__, "")
    return Finding(name, "fail", text, hint)


def _permissions(place: NodeHome) -> Finding:
    problems = place.exposed()
    if not problems:
        return Finding("permissions", "ok", f"{place.root} and its keys are yours alone")
    return Finding(
        "permissions",
        "fail",
        "; ".join(text for text, _ in problems),
        "; ".join(dict.fromkeys(hint for _, hint in problems)),
    )


def _settings(place: NodeHome, findings: list[Finding]) -> NodeSettings | None:
    try:
        settings = place.settings()
    except (CommandFailed, OSError) as error:
        findings.append(_failed("settings", error))
        return None
    findings.append(Finding("settings", "ok", f"{settings.node} at {settings.gateway}"))
    return settings


def _keys(place: NodeHome) -> Finding:
    place.keys()
    return Finding("keys", "ok", "identity and encryption keys load")


def _journal(place: NodeHome) -> Finding:
    if not place.journal.exists():
        return Finding("journal", "ok", "none yet: this node has not run")
    reading = read_journal(place.journal)
    return Finding("journal", "ok", f"{len(reading.entries)} entries, chain whole")


def _space(home: Path) -> Finding:
    free = shutil.disk_usage(home).free
    found = f"{free / 1e9:.1f} GB free"
    if free < LITTLE_SPACE:
        return Finding("disk", "warn", found, "free some space: a full disk stops the node before it sends")
    return Finding("disk", "ok", found)


def _data(settings: NodeSettings) -> Finding:
    path = settings.training_file
    if not path.is_file():
        hint = "put the file there, or correct data in node.json"
        return Finding("data", "fail", f"{path} is not there", hint)
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        return Finding("data", "fail", f"{path}: {error.strerror}", "let the node's user read it")
    return Finding("data", "ok", f"{path.name}, {path.stat().st_size} bytes")
