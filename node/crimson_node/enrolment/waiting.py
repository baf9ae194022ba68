"""Waiting for people: operators who compare words, governors who sign."""

import time
from collections.abc import Callable

from crimson_node.enrolment.errors import StillWaiting
from crimson_node.enrolment.joining import Join, Standpoint

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 10.0
"""Seconds between two questions, growing."""
DECIDED = ("approved", "listed")


def wait(join: Join, seconds: float, show: Callable[[Standpoint], None]) -> Standpoint:
    """Ask until the request is approved or listed. `show` is told each answer.

    Raises StillWaiting after `seconds`, which takes nothing back, and what `Join.follow` raises.
    """
    end, pause = time.monotonic() + seconds, FIRST_PAUSE
    while True:
        point = join.follow()
        show(point)
        if point.state is not None and point.state.state in DECIDED:
            return point
        left = end - time.monotonic()
        if left <= 0:
            hint = "the request stands: crimson node status shows it, and crimson node run waits on"
            raise StillWaiting(f"no decision within {seconds:g} seconds", hint)
        time.sleep(min(pause, left))
        pause = min(2 * pause, LONGEST_PAUSE)
