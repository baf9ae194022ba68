"""The program inside the enclave's sandbox in a simulation: the enclave's own, with a witness that hands out sums.

Run by the launcher in `enclave` as `python -m crimson_simulation.processes.inner DESCRIPTOR`. It loads nothing
that the enclave does not load, but this file and the witness.
"""

import io
import os
import sys

import numpy as np

from crimson_enclave.host.inside import run_inside
from crimson_enclave.totals import Totals
from crimson_simulation.witness import secure_sum

LENGTH = 8


class OpenedToPipe:
    """Given to the enclave's loop: writes every opened sum to a pipe, as its length and a NumPy archive."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, totals: Totals, accepted: tuple[int, ...]) -> None:
        buffer = io.BytesIO()
        np.savez(buffer, sums=secure_sum(totals), accepted=np.array(accepted, np.int64))
        data = buffer.getvalue()
        self._write(len(data).to_bytes(LENGTH, "big") + data)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]


if __name__ == "__main__":
    sys.exit(run_inside(OpenedToPipe(int(sys.argv[1]))))
