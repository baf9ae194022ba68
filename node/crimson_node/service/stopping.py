"""Stopping without leaving a mess: at once where nothing is owed, after the running obligations otherwise."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from crimson_node.service.events import Report, warn
from crimson_node.transport.errors import Transient

GRACE = 8.0
"""Seconds that a node goes on confirming and opening after it was asked to stop."""
TICK = 0.1


class StopRequested(BaseException):
    """Unwinds whatever waits. Not an Exception, so that nothing takes it for a failure."""


class Stop:
    """The wish to stop. A signal handler sets it; only sections marked interruptible are cut short."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._since: float | None = None
        self._interruptible = False

    @property
    def requested(self) -> bool:
        """Whether somebody asked."""
        return self._since is not None

    def request(self) -> None:
        """Ask, from any thread: the service stops at its next safe point."""
        self._since = self._since or time.monotonic()

    def handle(self, number: int, _: FrameType | None) -> None:
        """Ask by a signal. Asked twice, nothing is waited for any more."""
        self.signal = number
        self._since = time.monotonic() - (GRACE if self.requested else 0.0)
        if self._interruptible:
            raise StopRequested

    def install(self) -> None:
        """Take SIGTERM and SIGINT; main thread only."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle)

    def grace_left(self) -> float:
        """Seconds left for obligations once a stop was asked for."""
        return GRACE if self._since is None else max(0.0, self._since + GRACE - time.monotonic())

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """A section that a stop may cut short: nothing in it is owed to anybody."""
        before, self._interruptible = self._interruptible, True
        try:
            if self.requested:
                raise StopRequested
            yield
        finally:
            self._interruptible = before

    def pause(self, seconds: float) -> None:
        """Sleep, unless a stop is asked for."""
        end = time.monotonic() + seconds
        while not self.requested and (left := end - time.monotonic()) > 0:
            time.sleep(min(TICK, left))


class Waiting:
    """Asks again for as long as the service runs, or for `longest` seconds without any answer."""

    def __init__(self, stop: Stop, report: Report, longest: float | None = None) -> None:
        self._stop, self._report, self._longest = stop, report, longest
        self._since: float | None = None

    def pause(self, error: Transient, tries: int, seconds: float) -> None:
        """Wait before the next try; raises `error` once patience is over."""
        now = time.monotonic()
        if tries == 0 or self._since is None:
            self._since = now
        over = self._longest is not None and now - self._since >= self._longest
        if over or (self._stop.requested and not self._stop.grace_left()):
            raise error
        if not tries & (tries + 1):
            # Said after 1, 2, 4, 8 … tries: a long outage does not fill a disk with lines.
            warn(self._report, "waiting", code=error.code, reason=error.message, tries=tries + 1)
        self._stop.pause(seconds)
        if self._stop.requested:
            # With a stop asked for there is no time for long pauses, and none for a busy loop either.
            time.sleep(min(seconds, TICK))
