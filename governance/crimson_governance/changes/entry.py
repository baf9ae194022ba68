"""One change, and a group of them under a heading."""

from dataclasses import dataclass
from typing import Any, Literal

Mark = Literal["+", "-", "~"]
"""Added, removed, changed."""


@dataclass(frozen=True)
class Change:
    """What changes, what was and is (both empty where that says nothing), and what follows from it."""

    mark: Mark
    what: str
    before: str = ""
    after: str = ""
    consequence: str = ""

    def line(self) -> str:
        """The change as one line of text."""
        values = {
            "+": self.after,
            "-": self.before,
            "~": f"{self.before or 'none'} → {self.after or 'none'}",
        }[self.mark]
        values = f": {values}" if self.before or self.after else ""
        follows = f" — {self.consequence}" if self.consequence else ""
        return f"{self.mark} {self.what}{values}{follows}"


@dataclass(frozen=True)
class Group:
    """Changes under one heading. `text`: a passage that is shown as it is, such as a text's differences."""

    title: str
    changes: tuple[Change, ...] = ()
    text: tuple[str, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """For the JSON envelope."""
        return {
            "title": self.title,
            "changes": [
                {
                    "kind": {"+": "added", "-": "removed", "~": "changed"}[change.mark],
                    "what": change.what,
                    "before": change.before,
                    "after": change.after,
                    "consequence": change.consequence,
                }
                for change in self.changes
            ],
            "text": list(self.text),
        }


def group(title: str, changes: list[Change], text: list[str] | None = None) -> list[Group]:
    """The group, or nothing where it would be empty."""
    return [Group(title, tuple(changes), tuple(text or ()))] if changes or text else []
