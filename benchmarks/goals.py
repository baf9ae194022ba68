"""One performance goal: what was measured, what it must not exceed, and whether it held."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A measured figure. `value` and `goal` are in `unit`; smaller is better everywhere."""

    name: str
    value: float
    goal: float
    unit: str
    ok: bool


def at_most(name: str, value: float, goal: float, unit: str) -> Row:
    """The row of a figure that must not exceed `goal`."""
    return Row(name, round(float(value), 4), goal, unit, bool(value <= goal))
