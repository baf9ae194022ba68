"""Following a round until it is over: live on a terminal, one line for every change elsewhere."""

import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from crimson_gateway.failure import ClientFault
from crimson_gateway.operating.client import WAIT, GatewayClient, is_lasting
from crimson_protocol.wire.web import GATHERING, OVER

STEPS = (
    GATHERING,
    "advertising",
    "sharing",
    "submitting",
    "sketching",
    "confirming",
    "unmasking",
    "released",
)
"""What a round goes through, in order."""
PATIENCE = 60.0
"""Seconds for which a gateway that is away is asked again."""
SHOWN = 3


def follow(client: GatewayClient, round_id: int, display: "RoundDisplay") -> dict[str, Any]:
    """The round once it is over. A gateway that restarts meanwhile is asked again for a minute."""
    view, away_since = client.round(round_id), None
    display.show(view)
    while view["state"] not in OVER:
        try:
            view = client.round(round_id, view["version"], WAIT)
            away_since = None
        except ClientFault as fault:
            now = time.monotonic()
            away_since = away_since or now
            if is_lasting(fault) or now - away_since > PATIENCE:
                raise
            time.sleep(0.5)
        display.show(view)
    return view


class RoundDisplay:
    """A bar over a round's phases on a terminal; a line on stderr for every change elsewhere."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, soft_wrap=True, quiet=quiet)
        self._live = self._console.is_terminal and not quiet
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._live,
        )
        self._task = self._bar.add_task("round", total=len(STEPS) - 1, detail="")
        self._last: object = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, view: dict[str, Any]) -> None:
        """Where the round stands now."""
        title, detail = f"round {view['id']} {view['model']}", standing_of(view)
        if self._live:
            # A round that ended badly stays where it was.
            done = STEPS.index(view["state"]) if view["state"] in STEPS else None
            self._bar.update(self._task, description=escape(title), detail=escape(detail), completed=done)
        elif (title, detail) != self._last:
            self._console.print(f"{title}: {detail}", markup=False, highlight=False)
        self._last = title, detail


def standing_of(view: dict[str, Any]) -> str:
    """A round's state in words: attempt, who is waited for, and why an attempt failed."""
    parts = [view["state"]]
    if view["attempt"]:
        parts.append(f"attempt {view['attempt']}")
    if view["code"]:
        parts.append(view["code"])
    if view["waiting"]:
        more = len(view["waiting"]) - SHOWN
        names = ", ".join(view["waiting"][:SHOWN]) + (f" and {more} more" if more > 0 else "")
        parts.append(f"waits for {names}")
    return ", ".join(parts)
