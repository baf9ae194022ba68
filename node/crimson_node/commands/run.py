"""`crimson node run`: the agent, until it is asked to stop."""

import json as json_text
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from crimson_node.commands.options import Debug, Home, Json, chosen_home
from crimson_node.outcome import INTERRUPTED, OK, guarded, print_data
from crimson_node.service.events import Event, Report
from crimson_node.service.process import Pace, now, serve
from crimson_node.service.stopping import Stop

EXAMPLES = """
Examples:

  crimson node run --home /srv/crimson/node

  crimson node run --json 2>events.jsonl

Stops on SIGTERM or Ctrl-C at the next safe point, within ten seconds.
"""
STYLES = {"info": "", "warning": "yellow", "error": "bold red"}


def run(
    home: Home = None,
    patience: Annotated[
        float | None,
        typer.Option(help="Give up after so many seconds without an answer.", show_default="never"),
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Take part in the federation's rounds. Every step is one line on stderr."""

    def work() -> int:
        return _run(chosen_home(home), patience, as_json=json)

    return guarded(work, as_json=json, debug=debug)


def _run(home: Path, patience: float | None, *, as_json: bool) -> int:
    stop = Stop()
    stop.install()
    rounds = serve(home, report=_report(as_json=as_json), stop=stop, pace=Pace(longest=patience))
    if as_json:
        print_data({"rounds": rounds, "home": str(home)})
    return INTERRUPTED if stop.signal == signal.SIGINT else OK


def _report(*, as_json: bool) -> Report:
    """Coloured lines on a terminal, plain ones elsewhere, JSON where it was asked for."""
    console = Console(stderr=True, soft_wrap=True)

    def show(event: Event) -> None:
        if as_json:
            line = {"time": now(), "level": event.level, "event": event.name, **event.fields}
            print(json_text.dumps(line), file=sys.stderr, flush=True)
        else:
            console.print(event.text(), style=STYLES[event.level] or None, markup=False, highlight=False)

    return show
