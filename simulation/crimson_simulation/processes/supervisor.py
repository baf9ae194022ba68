"""Starts the processes of a simulated federation, watches them, and leaves none behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crimson_node.outcome import CommandFailed

PATIENCE = 60.0
"""Seconds that a process may take until it says it is ready."""
FAREWELL = 10.0
"""Seconds between a polite request to stop and a kill."""
TAIL = 2000
# The kernel ends a child whose parent is gone, so a killed simulation leaves no process behind.
WITH_PARENT = ("setpriv", "--pdeathsig", "TERM", "--")


class ProcessDied(CommandFailed):
    """A process ended that should not have, or never became ready. The message has the end of what it said."""

    code = "process-died"

    def __init__(self, name: str, code: int | None, log: Path, tail: str) -> None:
        ending = "is not ready in time" if code is None else f"ended with code {code}"
        last = tail.strip().rsplit("\n", 1)[-1]
        super().__init__(f"{name} {ending}" + (f": {last}" if last else ""), f"its log is {log}")


class Child:
    """One process: its stderr goes to a log file, its stdout gives the line that says it is ready."""

    def __init__(self, name: str, module: str, arguments: Sequence[str], log: Path) -> None:
        self.name, self._log = name, log
        self._command = [*WITH_PARENT, sys.executable, "-m", module, *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self._ready: dict[str, Any] | None = None
        self.expected_to_die = False

    def start(self) -> None:
        """Start it, or start it again."""
        self._ready, self.expected_to_die = None, False
        with open(self._log, "ab") as log:
            # A session of its own: Ctrl-C reaches the simulation alone, which then stops everybody in order.
            self._process = subprocess.Popen(  # noqa: S603 our own programs
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if self._ready is None and process is self._process:
                self._ready = json.loads(line)

    def ready(self) -> dict[str, Any]:
        """What it said when it was ready. Raises ProcessDied."""
        deadline = time.monotonic() + PATIENCE
        while self._ready is None:
            if not self.alive or time.monotonic() > deadline:
                raise self.died()
            time.sleep(0.02)
        return self._ready

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def code(self) -> int | None:
        """Its exit code once it ended."""
        return self._process.poll() if self._process else None

    def died(self) -> ProcessDied:
        """What to raise where it should be running."""
        tail = self._log.read_bytes()[-TAIL:].decode(errors="replace") if self._log.exists() else ""
        return ProcessDied(self.name, self.code, self._log, tail)

    def kill(self) -> None:
        """kill -9, as a power cut would."""
        if self._process is not None and self.alive:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """Ask it to stop; the caller waits."""
        if self._process is not None and self.alive:
            self._process.terminate()

    def wait(self, seconds: float) -> None:
        """Until it ended, or a kill after `seconds`."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self.kill()


class Supervisor:
    """All processes of a run, in the order of their start; they are stopped in the reverse order."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self.children: dict[str, Child] = {}

    def start(self, name: str, module: str, *arguments: str) -> Child:
        """Start a process under a name."""
        child = self.children[name] = Child(name, module, arguments, self._logs / f"{name}.log")
        child.start()
        return child

    def check(self) -> None:
        """Raises ProcessDied for a process that ended unasked; one that was to die is started again."""
        for child in self.children.values():
            if child.alive:
                continue
            if not child.expected_to_die:
                raise child.died()
            child.start()

    def stop(self) -> None:
        """Stop all of them; whoever does not listen is killed."""
        for child in reversed(self.children.values()):
            child.stop()
        deadline = time.monotonic() + FAREWELL
        for child in self.children.values():
            child.wait(deadline - time.monotonic())
