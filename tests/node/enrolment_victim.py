"""Commands of the node that kill themselves with SIGKILL at a named point: `python -m tests.node.enrolment_victim`

Each line of its input is JSON, `{"argv": [...], "point": "..."}`, and is run in a process of its own; each line of
its output is how that one ended: an exit code, or -9. Points: `NAME:before` and `NAME:after` for a file that is put
into its place or removed, by its name, and for the folders `next` and `switching`; `posted:before` and
`posted:after` for a request.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crimson_node.commands import main
from crimson_node.transport.gateway import Gateway


def die(point: str, wanted: str) -> None:
    """As by `kill -9`, where this is the point."""
    if point == wanted:
        os.kill(os.getpid(), signal.SIGKILL)


def around(work: Callable[..., Any], name: Callable[..., str], wanted: str) -> Callable[..., Any]:
    """The same work with a point before and after it."""

    def watched(*arguments: Any, **options: Any) -> Any:
        die(f"{name(*arguments)}:before", wanted)
        done = work(*arguments, **options)
        die(f"{name(*arguments)}:after", wanted)
        return done

    return watched


def watch(wanted: str) -> None:
    """Put the points in; this process runs nothing else."""
    os.replace = around(os.replace, lambda source, target: Path(target).name, wanted)
    Path.rename = around(Path.rename, lambda source, target: Path(target).name, wanted)
    Path.unlink = around(Path.unlink, lambda path, **_: f"no-{path.name}", wanted)
    shutil.rmtree = around(shutil.rmtree, lambda path, **_: f"no-{Path(path).name}", wanted)
    for name in ("join", "rotate", "leave"):
        setattr(Gateway, name, around(getattr(Gateway, name), lambda *_: "posted", wanted))


def run(argv: list[str], point: str) -> int:
    """How the command ended in a process of its own."""
    child = os.fork()
    if child == 0:
        watch(point)
        with open(os.devnull, "w") as nowhere:
            sys.stdout = sys.stderr = nowhere
            os._exit(main(argv))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    for line in sys.stdin:
        order = json.loads(line)
        print(run(order["argv"], order["point"]), flush=True)
