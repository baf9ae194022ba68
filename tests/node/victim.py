"""A node process that kills itself with SIGKILL at a named point: `python -m tests.node.victim HOME POINT…`

Points: `event` or `event:Message` of the service's progress, and `journal:kind:before` or `:after` of an entry.
"""

import os
import signal
import sys
from pathlib import Path

from crimson_node.journal import _KIND_OF, Journal
from crimson_node.service.events import Event
from crimson_node.service.process import Pace, serve
from crimson_node.service.stopping import Stop
from crimson_node.transport.backoff import Backoff

QUICK = Pace(pauses=(0.05,), backoff=Backoff(0.02, 0.2))


def die() -> None:
    """As by `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)


def main(home: str, *points: str) -> None:
    """Run until a point is reached, or until SIGTERM."""

    def report(event: Event) -> None:
        print(event.text(), flush=True)
        if {event.name, f"{event.name}:{event.fields.get('message')}"} & set(points):
            die()

    append = Journal.append

    def killed(journal: Journal, entry, time: int) -> None:
        point = f"journal:{_KIND_OF[type(entry)]}"
        if f"{point}:before" in points:
            die()
        append(journal, entry, time)
        if f"{point}:after" in points:
            die()

    Journal.append = killed
    stop = Stop()
    stop.install()
    serve(Path(home), report=report, stop=stop, pace=QUICK)


if __name__ == "__main__":
    main(*sys.argv[1:])
