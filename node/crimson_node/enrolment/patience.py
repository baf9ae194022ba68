"""How long a person at a keyboard waits for the network."""

import time

from crimson_node.transport.errors import Transient

ANSWER_SECONDS = 20.0
"""Seconds within which a gateway must have answered a question of joining or leaving."""


class Once:
    """One try for each question."""

    def pause(self, error: Transient, tries: int, seconds: float) -> None:
        """Raises `error`."""
        del tries, seconds
        raise error


class Brief:
    """Asks again for `ANSWER_SECONDS` from the first failure, then gives up with what went wrong."""

    def __init__(self) -> None:
        self._since: float | None = None

    def pause(self, error: Transient, tries: int, seconds: float) -> None:
        """Wait before the next try; raises `error` once the time is over."""
        now = time.monotonic()
        if tries == 0 or self._since is None:
            self._since = now
        if now - self._since + seconds > ANSWER_SECONDS:
            raise error
        time.sleep(seconds)
