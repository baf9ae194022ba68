"""What each site contributes to a round, from its own rows and what was released before."""

import os
from collections.abc import Sequence

from crimson_node.data.rows import SurvivalRows
from crimson_node.learning.task import Task
from crimson_node.member import Update
from crimson_simulation.parties import Parties


class Contributions:
    """Trains for every site in one process."""

    def __init__(self, parties: Parties, rows: Sequence[SurvivalRows]) -> None:
        self._parties, self._rows = parties, rows
        self._released: dict[str, bytes] = {}

    def released(self, model: str, artifact: bytes) -> None:
        """An artifact was released; later updates may be standardised by it."""
        self._released[model] = artifact

    def update(self, model: str, base: bytes, index: int) -> Update:
        """One site's update of `model` on the artifact `base`."""
        task = Task.of(self._parties.policy, model)
        moments = self._released.get(task.scale) if task.scale else None
        return task.update(base, moments, self._rows[index], os.urandom)
