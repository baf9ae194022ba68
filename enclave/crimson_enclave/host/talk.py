"""Lines for people, on standard error: never worth failing for."""

import sys
from contextlib import suppress


def say(line: str) -> None:
    """Write a line. A log on a full disk must not cost the answer that the line is about."""
    with suppress(OSError, ValueError):
        print(f"crimson enclave: {line}", file=sys.stderr, flush=True)
