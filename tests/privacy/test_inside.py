"""Accountant and noise where they really run: in the closed sandbox, under its system call filter."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crimson_enclave.host.settings import code_folders
from crimson_enclave.isolation import bubblewrap
from crimson_enclave.isolation.process import ENVIRONMENT
from crimson_enclave.privacy.accountant import Event, epsilon
from crimson_enclave.privacy.noise import rounded_gaussian

# A fixed stream in place of the generator, so that both sides draw the same. At the larger deviation many draws
# are decided by mpmath.
INSIDE = """
import json, sys
from pathlib import Path
import crimson_enclave.host.inside
from crimson_enclave.isolation import Boundary, isolate
from crimson_enclave.privacy.accountant import Event, epsilon
from crimson_enclave.privacy.noise import rounded_gaussian
import numpy as np

measures = isolate(Boundary(tuple(map(Path, json.loads(sys.stdin.readline()))), (), 1))
held = {measure.name for measure in measures if measure.enforced}
spent = {Event(1_196_000, 100_000): 20, Event(5_000_000, 1_000_000): 3}
stream = np.random.default_rng(11).bytes
draws = [int(rounded_gaussian(sigma, 20_000, stream).sum()) for sigma in (30.0, 2.0**36)]
print(json.dumps([sorted(held), epsilon(spent, 1e-5), epsilon(spent, 1e-15), draws]))
"""


@pytest.mark.skipif(bubblewrap.find() is None, reason="bubblewrap is not here")
def test_the_closed_sandbox_changes_no_epsilon_and_no_draw():
    system = set(bubblewrap.SYSTEM_FOLDERS)
    code = [path for path in code_folders() if path.exists()]
    mounts = bubblewrap.Mounts({path: path for path in code if path not in system})
    line = bubblewrap.command(
        str(bubblewrap.find()), [sys.executable, "-I", "-B", "-c", INSIDE], mounts, ENVIRONMENT
    )
    done = subprocess.run(
        line,
        input=json.dumps(list(map(str, code))),
        capture_output=True,
        text=True,
        check=False,
        cwd=Path("/"),
    )
    assert done.returncode == 0, done.stderr
    held, tight, moments, draws = json.loads(done.stdout)
    assert {"seccomp", "no-network", "no-program", "no-child-process", "read-only-files"} <= set(held)
    spent = {Event(1_196_000, 100_000): 20, Event(5_000_000, 1_000_000): 3}
    assert (tight, moments) == (epsilon(spent, 1e-5), epsilon(spent, 1e-15))
    stream = np.random.default_rng(11).bytes
    assert draws == [int(rounded_gaussian(sigma, 20_000, stream).sum()) for sigma in (30.0, 2.0**36)]
