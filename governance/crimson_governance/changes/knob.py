"""One setting of a model: how it is read and shown, and what follows from its change."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crimson_governance.changes.entry import Change
from crimson_protocol.policy.document import ModelRules
from crimson_protocol.policy.plan import TrainingPlan


@dataclass(frozen=True)
class Knob:
    """One setting: how it is read and shown, and what follows where it grows, where it shrinks or is merely
    another, where it was none before, and where it is none now."""

    name: str
    read: Callable[[ModelRules, TrainingPlan], Any]
    show: Callable[[Any], str]
    more: str
    less: str
    begins: str = ""
    ends: str = ""

    def change(
        self, old: tuple[ModelRules, TrainingPlan], new: tuple[ModelRules, TrainingPlan]
    ) -> Change | None:
        """The change between two versions; None where there is none."""
        before, after = self.read(*old), self.read(*new)
        if before == after:
            return None
        return Change("~", self.name, self.show(before), self.show(after), self._consequence(before, after))

    def _consequence(self, before: Any, after: Any) -> str:
        if before is None:
            return self.begins or self.more
        if after is None:
            return self.ends or self.less
        return self.more if _grew(before, after) else self.less


def _grew(before: Any, after: Any) -> bool:
    if isinstance(before, tuple) and isinstance(after, tuple):
        # Shares: compared as ratios.
        return bool(after[0] * before[1] > before[0] * after[1])
    return isinstance(before, int) and isinstance(after, int) and after > before


def or_none(show: Callable[[Any], str]) -> Callable[[Any], str]:
    """How a value is shown that may be none."""
    return lambda value: "none" if value is None else show(value)


def yes_or_no(value: Any) -> str:
    """A truth in words."""
    return "yes" if value else "no"
