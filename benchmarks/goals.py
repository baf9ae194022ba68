"""One performance figure: what was measured, what it must not exceed, and whether it held."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A measured figure. `value` and `goal` are in `unit`; smaller is better everywhere.

    Without a goal a figure is reported alone, and `ok` is true.
    """

    name: str
    value: float
    goal: float | None
    unit: str
    ok: bool

    @property
    def target(self) -> str:
        """The goal for people."""
        return "none" if self.goal is None else f"{self.goal:.3g}"


def at_most(name: str, value: float, goal: float, unit: str) -> Row:
    """The row of a figure that must not exceed `goal`."""
    return Row(name, round(float(value), 4), goal, unit, bool(value <= goal))


def reported(name: str, value: float, unit: str) -> Row:
    """The row of a figure without a goal."""
    return Row(name, round(float(value), 4), None, unit, True)
