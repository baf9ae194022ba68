"""The witness across processes: nodes and enclave leave what they saw in files, and the simulation compares.

The enclave's half is in `inner`: it hands opened sums out through a pipe, since it may write no such file.
"""

import io
import time
from pathlib import Path

import numpy as np

from crimson_node.durable import write_file
from crimson_protocol.layout import Layout, Words
from crimson_simulation.processes.homes import Homes
from crimson_simulation.witness import plain_sum

PATIENCE = 10.0
"""Seconds that an opened sum may come after its release."""


class EncodedToFile:
    """Given to a node's agent: keeps the vector before masking."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, _: int, vector: Words) -> None:
        buffer = io.BytesIO()
        np.save(buffer, vector)
        write_file(self._path, buffer.getvalue())


class Comparison:
    """Compares each opened sum with the plain sum of what its accepted nodes encoded."""

    def __init__(self, homes: Homes) -> None:
        self._homes, self._seen = homes, 0
        self.compared: list[bool | None] = []

    def compare(self, layout: Layout) -> None:
        """Compare the sum that was released since the last call. Sums before the newest one were opened in rounds
        that a crash ended before their release."""
        newest = self._newest()
        if newest is None:
            self.compared.append(None)
            return
        with np.load(newest) as opened:
            sums, accepted = opened["sums"], [int(node) for node in opened["accepted"]]
        encoded = {node: np.load(self._homes.encoded(node)) for node in accepted}
        self.compared.append(bool(np.array_equal(sums, plain_sum(layout, encoded))))

    def _newest(self) -> Path | None:
        """The newest sum, once there is one that was not seen; the launcher writes it beside the release."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            paths = sorted(self._homes.opened.glob("*.npz"))
            if len(paths) > self._seen:
                self._seen = len(paths)
                return paths[-1]
            time.sleep(0.01)
        return None

    @property
    def sum_matches_plain(self) -> bool | None:
        """Whether every release matched; None where there was none, or where one could not be compared."""
        if not self.compared or None in self.compared:
            return None
        return all(self.compared)
