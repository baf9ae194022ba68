"""Training for one round: the plan's artifacts, this site's rows, one update that stays in memory."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from crimson_node.agent import Agent
from crimson_node.member import Update
from crimson_node.service.library import Library
from crimson_protocol.evidence.validate import Appraisal

if TYPE_CHECKING:
    from crimson_node.data.rows import SurvivalRows
    from crimson_node.learning.plan import TrainingPlan


@dataclass
class Training:
    """Makes updates from one data file, which is read again when it changes."""

    data: Path
    library: Library
    _rows: "tuple[object, SurvivalRows] | None" = field(default=None, repr=False)

    def update(self, agent: Agent, model: str, appraisal: Appraisal) -> Update | None:
        """The site's update for a round of `model`; None where a release that its plan needs is not there yet.

        Raises DataFault where the file cannot be used.
        """
        # Loading what learns takes half a second: only a node that trains pays for it.
        from crimson_node.learning.task import Task  # noqa: PLC0415

        task = Task.of(agent.member.policy, model)
        moments = None
        if task.scale is not None:
            moments = self.library.released(agent, task.scale, appraisal)
            if moments is None:
                return None
        base = self.library.base(agent, task.base, appraisal)
        return task.update(base, moments, self._read(task.plan, agent.member.name), os.urandom)

    def _read(self, plan: "TrainingPlan", site: str) -> "SurvivalRows":
        from crimson_node.data.table import load_site  # noqa: PLC0415

        found = self.data.stat() if self.data.is_file() else None
        version = (found.st_mtime_ns, found.st_size) if found else None
        key = (version, plan.declaration)
        if self._rows is None or self._rows[0] != key:
            self._rows = key, load_site(self.data, plan.declaration, site)
        return self._rows[1]
