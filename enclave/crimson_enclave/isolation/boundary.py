"""The order in which a process gives up its rights, and the report of what this kernel really enforced."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from crimson_enclave.isolation import landlock, probes, process, seccomp
from crimson_enclave.isolation.bubblewrap import HOST_NAME, ROOT_FOLDERS, SANDBOX_USER
from crimson_protocol.evidence.format import Measure

REQUIRED = (
    "own-process",
    "environment-cleared",
    "no-capabilities",
    "pid-namespace",
    "network-namespace",
    "mount-namespace",
    "user-namespace",
    "uts-namespace",
    "not-dumpable",
    "no-core-dump",
    "no-new-privileges",
    "read-only-files",
    "seccomp",
    "no-network",
    "no-program",
    "no-child-process",
    "no-tracing",
)
"""Measures without any of which an enclave does not call itself isolated."""


@dataclass(frozen=True)
class Boundary:
    """What stays open: folders of code to read, the state folder, and how the process was started.

    outside: process id of whoever started it, which must not be visible. denied: files outside that must not
    open.
    """

    code: tuple[Path, ...]
    state: tuple[Path, ...]
    outside: int
    denied: tuple[Path, ...] = tuple(map(Path, ("/etc/passwd", "/root", "/home", "/proc", "/tmp")))  # noqa: S108


def isolate(boundary: Boundary) -> tuple[Measure, ...]:
    """Give up every right that `boundary` does not name, for ever, and say what now holds.

    Called once, when everything is imported and the listening socket is open. A measure that cannot be
    applied is reported and does not stop the next one: policy decides whether what holds is enough.
    """
    found = dict(_memory())
    found |= _namespaces(boundary)
    with suppress(OSError):
        applied = landlock.apply(boundary.code, boundary.state)
        found["landlock-files"], found["landlock-network"] = applied.files, applied.network
        found["landlock-scopes"] = applied.scopes
    # With Landlock or the sandbox alone it holds too; tried before seccomp, which does not look at paths.
    found["read-only-files"] = _files_are_closed(boundary)
    found |= _filtered()
    return tuple(Measure(name, held) for name, held in sorted(found.items()))


def is_isolated(measures: Sequence[Measure]) -> bool:
    """Whether every required measure is enforced."""
    held = {measure.name for measure in measures if measure.enforced}
    return held.issuperset(REQUIRED)


def _memory() -> dict[str, bool]:
    dumpable, core = process.forbid_dumps()
    return {
        "own-process": True,
        "environment-cleared": process.environment_is_cleared(),
        "memory-locked": process.lock_memory(),
        "not-dumpable": dumpable,
        "no-core-dump": core,
        "ends-with-parent": process.end_with_parent(),
        "no-writable-code": process.forbid_writable_code(),
    }


def _namespaces(boundary: Boundary) -> dict[str, bool]:
    return {
        "no-capabilities": probes.no_capabilities(),
        "pid-namespace": probes.no_process_outside(boundary.outside),
        "network-namespace": probes.only_own_loopback(),
        "mount-namespace": probes.only_named_folders((*ROOT_FOLDERS, *_tops(boundary))),
        "user-namespace": os.getuid() == os.geteuid() == SANDBOX_USER,
        "uts-namespace": os.uname().nodename == HOST_NAME,
    }


def _tops(boundary: Boundary) -> set[str]:
    """First folders below the root on the way to what is readable."""
    return {path.parts[1] for path in (*boundary.code, *boundary.state) if len(path.parts) > 1}


def _files_are_closed(boundary: Boundary) -> bool:
    open_ = (*boundary.code, *boundary.state)
    # A folder on the way to the code shows only that way.
    denied = [path for path in boundary.denied if not any(inner.is_relative_to(path) for inner in open_)]
    outside = probes.no_file_outside(denied)
    return outside and all(probes.not_written(path) for path in boundary.code if path.is_dir())


def _filtered() -> dict[str, bool]:
    privileges = process.has_no_new_privileges
    try:
        seccomp.apply()
    except (OSError, KeyError):
        # Nothing is tried where nothing was applied: an attempt that works would leave its traces.
        return {"seccomp": False, "no-new-privileges": privileges()}
    return {
        "seccomp": probes.no_mount() and probes.no_signal(),
        "no-network": probes.no_socket(),
        "no-program": probes.no_program(),
        "no-child-process": probes.no_child(),
        "no-tracing": probes.no_tracing(),
        # prctl is refused from here on; the filter itself could not be set without it.
        "no-new-privileges": True,
    }
