"""How much one caller may ask for: token buckets and concurrency, by address and by key."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from crimson_gateway.problems import Problem

CALLERS = 10_000
"""Callers remembered at once; the one that was silent longest is forgotten first."""


def network_of(address: str) -> str:
    """An IPv4 address, or the /64 of an IPv6 address: what one caller can have of each."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return address if parsed.version == 4 else str(ipaddress.ip_network((parsed, 64), strict=False))


class TokenBuckets:
    """One bucket per caller: `rate` tokens a second, `burst` at most."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> float:
        """Take a token: 0 where there is one, else the seconds until there will be."""
        now = self._clock()
        level, before = self._levels.pop(caller, (self._burst, now))
        level = min(self._burst, level + (now - before) * self._rate)
        taken = level >= 1
        self._levels[caller] = (level - 1 if taken else level, now)
        while len(self._levels) > CALLERS:
            self._levels.popitem(last=False)
        return 0.0 if taken else (1 - level) / self._rate

    def charge(self, caller: str) -> None:
        """Take a token, or raise the problem `rate-limited`."""
        if wait := self.take(caller):
            raise Problem(
                "rate-limited", f"again in {wait:.1f} seconds", headers={"Retry-After": str(int(wait) + 1)}
            )


class Concurrency:
    """At most `most` requests of one caller at the same time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._running: dict[str, int] = {}

    @contextmanager
    def one(self, caller: str) -> Iterator[None]:
        """Count one request while the block runs, or raise the problem `too-many-at-once`."""
        running = self._running.get(caller, 0)
        if running >= self._most:
            raise Problem("too-many-at-once", f"at most {self._most}", headers={"Retry-After": "1"})
        self._running[caller] = running + 1
        try:
            yield
        finally:
            left = self._running[caller] - 1
            if left:
                self._running[caller] = left
            else:
                del self._running[caller]
