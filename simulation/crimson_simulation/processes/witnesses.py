"""The witness across processes: nodes and enclave leave what they saw in files, and the simulation compares.

The enclave's half is in `inner`: it hands opened sums out through a pipe, since it may write no such file.
"""

import io
import os
from pathlib import Path

import numpy as np

from crimson_protocol.layout import Layout, Words
from crimson_simulation.processes.homes import Homes
from crimson_simulation.witness import plain_sum


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(data)
    os.replace(temporary, path)


class EncodedToFile:
    """Given to a node's agent: keeps the vector before masking."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, _: int, vector: Words) -> None:
        buffer = io.BytesIO()
        np.save(buffer, vector)
        _write(self._path, buffer.getvalue())


class Comparison:
    """Compares each opened sum with the plain sum of what its accepted nodes encoded."""

    def __init__(self, homes: Homes) -> None:
        self._homes, self._seen = homes, 0
        self.compared: list[bool] = []

    def compare(self, layout: Layout) -> None:
        """Compare the sum that was released since the last call. Sums before the newest one were opened in rounds
        that a crash ended before their release."""
        paths = sorted(self._homes.opened.glob("*.npz"))
        if len(paths) == self._seen:
            return
        self._seen = len(paths)
        with np.load(paths[-1]) as opened:
            sums, accepted = opened["sums"], [int(node) for node in opened["accepted"]]
        encoded = {node: np.load(self._homes.encoded(node)) for node in accepted}
        self.compared.append(bool(np.array_equal(sums, plain_sum(layout, encoded))))

    @property
    def sum_matches_plain(self) -> bool | None:
        """Whether every release so far matched; None where there was none."""
        return all(self.compared) if self.compared else None
