"""What the service says while it works: names, counts, codes and digests; never a data value, key or update."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Event:
    """One line of progress. `level`: info, warning or error."""

    name: str
    fields: Mapping[str, Value] = field(default_factory=dict)
    level: str = "info"

    def text(self) -> str:
        """The event for people, on one line."""
        details = " ".join(f"{name}={value}" for name, value in self.fields.items() if value is not None)
        return f"{self.name} {details}".rstrip()


Report = Callable[[Event], None]


def say(report: Report, name: str, **fields: Value) -> None:
    """Report what went as it should."""
    report(Event(name, fields))


def warn(report: Report, name: str, **fields: Value) -> None:
    """Report what the node refused, or waits for."""
    report(Event(name, fields, "warning"))
