"""Runs a simulation's node: the real agent of a site, with a witness and, where one is planned, a fault.

`python -m crimson_simulation.processes.node HOME ENCODED FAULT`. The fault file names a model and a phase: the node
kills itself, as a power cut would, once it has sent that phase's message in a round of that model.
"""

import json
import os
import signal
import sys
from pathlib import Path

from crimson_node.outcome import failure_of
from crimson_node.rounds.submit import Encoder
from crimson_node.service.events import Event
from crimson_node.service.process import serve
from crimson_node.service.stopping import Stop
from crimson_simulation.processes.witnesses import EncodedToFile

SENT = {"share": "Share", "submit": "Submit"}


class Fault:
    """Watches what the node says, and kills it where the plan says so. The plan is removed first: it is carried
    out once."""

    def __init__(self, plan: Path) -> None:
        self._plan, self._model = plan, ""

    def __call__(self, event: Event) -> None:
        print(
            json.dumps({"event": event.name, "level": event.level, **event.fields}),
            file=sys.stderr,
            flush=True,
        )
        if event.name == "called":
            self._model = str(event.fields["model"])
        if event.name in ("told", "sent") and self._plan.exists():
            model, phase = self._plan.read_text().split()
            if (self._model, event.fields["message"]) == (model, SENT[phase]):
                self._plan.unlink()
                os.kill(os.getpid(), signal.SIGKILL)


def main(home: str, encoded: str, fault: str, *, encode: Encoder | None = None) -> int:
    """The agent's life; its exit code. `encode`: another way to encode than an honest node's."""
    stop = Stop()
    stop.install()
    print(json.dumps({"ready": True}), flush=True)
    try:
        witness = EncodedToFile(Path(encoded))
        serve(Path(home), report=Fault(Path(fault)), stop=stop, witness=witness, encode=encode)
    except Exception as error:
        known = failure_of(error)
        if known is None:
            raise
        print(f"{known.code}: {known.message}; {known.hint}", file=sys.stderr)
        return known.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
