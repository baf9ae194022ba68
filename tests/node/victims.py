"""Commands that are killed with SIGKILL, each in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Victims:
    """Runs commands of `tests.node.enrolment_victim`."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.node.enrolment_victim"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)

    def run(self, point: str, *argv: object) -> int:
        """How a command ended that dies at a point, if it reaches it."""
        self._process.stdin.write(json.dumps({"argv": [*map(str, argv)], "point": point}) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """No more of them."""
        self._process.stdin.close()
        self._process.wait(30)
