"""How long to wait before the next try: exponential, with full jitter, so that nodes do not come back at once."""

import random
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

LONGEST_ASKED = 120.0
"""A gateway's Retry-After counts up to this many seconds."""


@dataclass(frozen=True)
class Backoff:
    """Waits between 0 and min(longest, first · 2^tries) seconds."""

    first: float = 0.25
    longest: float = 5.0

    def pause(self, tries: int, after: float | None = None) -> float:
        """Seconds to wait after `tries` failures; never less than the gateway asked for."""
        ceiling = min(self.longest, self.first * 2 ** min(tries, 16))
        jitter = random.uniform(0.0, ceiling)  # noqa: S311 no secret depends on it
        return jitter if after is None else jitter + min(after, LONGEST_ASKED)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds in a Retry-After field: a number or a date. None where it cannot be read."""
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (TypeError, ValueError):
        return None
