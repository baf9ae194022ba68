"""The gateway, and the enclave in its sandbox, as processes of their own: started, measured from outside, stopped.

CPU time and memory are the kernel's own count for each process, so what clients in the measuring process cost
is not in them.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.playground import default_rules, government_of, initial, make_parties

from benchmarks.federation import numbers
from crimson_enclave.measurement import measure
from crimson_governance.repository import repository_files
from crimson_protocol.policy.document import EvidenceRules, OperatorEntry
from crimson_protocol.secret.keys import IdentityKey
from crimson_protocol.transcript import model_digest
from crimson_simulation.parties import Parties
from crimson_simulation.policy_writer import SiteKeys
from crimson_simulation.processes.homes import (
    LAUNCHER,
    Deadlines,
    Homes,
    write_enclave_home,
    write_gateway_home,
)
from crimson_simulation.processes.supervisor import FAREWELL, WITH_PARENT

ROOT = Path(__file__).parents[1]
LASTING = 10**6
PATIENT = Deadlines(gather=600.0, phase=600.0, grace=600.0)
"""No deadline ends a phase: every node is waited for, however loaded the machine is."""


class Process:
    """A Python module as a process, from the line that says it is ready to its end."""

    def __init__(self, module: str, *arguments: str, log: Path) -> None:
        command = [*WITH_PARENT, sys.executable, "-m", module, *arguments]
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            self.ready = json.loads(line)
        except ValueError:
            rest, _ = self._process.communicate(timeout=FAREWELL)
            said = (line + rest).decode() + log.read_text()[-2000:]
            raise RuntimeError(f"{module} ended with code {self._process.returncode}: {said}") from None
        self.pid = self._process.pid

    def stop(self) -> None:
        """Ask it to end, and kill it where it does not."""
        self._process.terminate()
        try:
            self._process.wait(FAREWELL)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@contextmanager
def running(module: str, *arguments: str, log: Path) -> Iterator[Process]:
    """The process while the block runs."""
    process = Process(module, *arguments, log=log)
    try:
        yield process
    finally:
        process.stop()


def cpu_seconds(root: int) -> float:
    """CPU seconds, user and system, of a process and everything below it that still runs.

    Read from each process's CPU clock (clock_getcpuclockid(3)), which counts nanoseconds; /proc/PID/stat
    counts in steps of 10 ms.
    """
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in _family(root))


def _family(root: int) -> list[int]:
    found = [root]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").iterdir():
            # An idle thread may end meanwhile; those that have children do not.
            with suppress(FileNotFoundError):
                found += map(int, (task / "children").read_text().split())
    return found


@dataclass(frozen=True)
class Place:
    """A federation's homes below one folder."""

    homes: Homes
    parties: Parties

    @contextmanager
    def gateway(self, module: str = LAUNCHER) -> Iterator[Process]:
        """The gateway on its home; `module` may be a variant that takes the same arguments."""
        if not self.homes.gateway.exists():
            write_gateway_home(self.homes, self.parties, PATIENT)
        arguments = ("gateway", "serve", "--home", str(self.homes.gateway), "--json")
        with running(module, *arguments, log=self.homes.logs / "gateway.log") as process:
            yield process

    @contextmanager
    def enclave(self) -> Iterator[Process]:
        """The enclave as an operator starts it: in its sandbox, with its state on disk."""
        write_enclave_home(self.homes, self.parties)
        arguments = ("--home", str(self.homes.enclave), "--socket", str(self.homes.socket), "--json")
        log = self.homes.logs / "enclave.log"
        with running(LAUNCHER, "enclave", "serve", *arguments, log=log) as process:
            yield process


@contextmanager
def place(parties: Parties) -> Iterator[Place]:
    """An empty place for the processes of `parties`; nothing of it is left after the block."""
    with TemporaryDirectory() as folder:
        homes = Homes(Path(folder))
        homes.prepare()
        try:
            yield Place(homes, parties)
        finally:
            shutil.rmtree(homes.socket.parent, ignore_errors=True)


def process_parties(nodes: int, models: Mapping[str, int]) -> Parties:
    """Keys and a policy that the installed enclave serves. `models`: parameters by model.

    Every model names the initial artifact of the first. Where there are more, only a gateway is given the policy.
    """
    knobs = [numbers(nodes, parameters) for parameters in models.values()]
    made = make_parties(nodes, knobs[0], seed="benchmarks")
    rules, operator = default_rules(knobs[0]), IdentityKey.fresh(os.urandom)
    policy = replace(
        made.policy,
        evidence=EvidenceRules(("sim",), (measure(),), (made.root.public,), ()),
        operators=(OperatorEntry("operator", operator.public, ("rounds",)),),
        expires=int(time.time()) + LASTING,
        models=tuple(
            replace(rules, model=model, numbers=own)
            for model, own in sorted(zip(models, knobs, strict=True), key=itemgetter(0))
        ),
    )
    named = {model_digest(initial(own)): initial(own) for own in knobs}
    published = government_of(made.governor).publish(policy, policy.expires, named)
    return Parties(
        policy=policy,
        bundle=published.to_bytes(),
        repository=repository_files(published, named),
        anchor=made.first_root,
        operator=operator,
        root=made.root,
        measurement=measure(),
        keys=tuple(map(SiteKeys, made.identities, made.encryptions)),
        # These nodes do not train: their updates are made of numbers.
        files=(Path(os.devnull),) * nodes,
        rows=(),
        initials={next(iter(models)): initial(knobs[0])},
    )
