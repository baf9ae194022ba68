"""What one check found."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A named check: `result` is ok, warn, fail or skip; `hint` says what to do, empty where nothing is."""

    name: str
    result: str
    detail: str
    hint: str = ""
