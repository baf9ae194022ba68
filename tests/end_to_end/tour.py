"""The commands of a tour as people type them, each a process of its own, with the files that they hand on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CODE = "import sys; from crimson_protocol.launcher import main; sys.exit(main())"
SITES = ("north", "south", "west")
LATE = "east"
MODEL = """
model: survival
strategy: fedavg
loss: cox-partial-likelihood
numbers: {clip: 8, weight_cap: 64, min_cohort: 3, corrupt: 0/1}
disclosures: [no-corruption]
plan:
  task: cox
  time_column: days
  event_column: failed
  numeric: [age, dose, marker]
  steps: 5
  learning_rate: 0.1
  l2: 0
  weights: rows
  scale_model: survival.moments
"""
MOMENTS = """
model: survival.moments
strategy: sum
numbers: {clip: 8, weight_cap: 1, min_cohort: 3, corrupt: 0/1}
disclosures: [no-corruption]
plan: {task: moments, time_column: days, event_column: failed, numeric: [age, dose, marker]}
"""


@dataclass
class Tour:
    """One federation on this machine: its folders, and the processes that run."""

    root: Path
    running: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Path:
        """A folder of the tour by its name."""
        if name not in ("governors", "keys", "repository", "gateway", "enclave", LATE, *SITES):
            raise AttributeError(name)
        return self.root / name

    def crimson(self, *words: object, code: int = 0, **options: Any) -> dict[str, Any]:
        """Run a command to its end; the data of its envelope, or its error."""
        line = [sys.executable, "-c", CODE, *map(str, words), "--json"]
        done = subprocess.run(line, capture_output=True, text=True, timeout=90, check=False, **options)
        assert done.returncode == code, (words, done.returncode, done.stdout[-800:], done.stderr[-2000:])
        told = json.loads(done.stdout)
        return told["data"] if code == 0 else told["error"]

    def start(self, name: str, *words: object) -> dict[str, Any]:
        """Start a service, and give the line that says it is ready."""
        with open(self.root / f"{name}.log", "a") as log:
            line = [sys.executable, "-c", CODE, *map(str, words), "--json"]
            self.running[name] = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=log, text=True)
        if name in (LATE, *SITES):
            return {}
        said = self.running[name].stdout.readline()
        assert said, self.log(name)
        return json.loads(said)

    def stop(self, name: str) -> int:
        """End a service as its administrator does; its exit code."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(30)

    def ended(self, name: str, seconds: float = 60) -> int:
        """The exit code of a service that ends by itself."""
        return self.running.pop(name).wait(seconds)

    def log(self, name: str) -> str:
        return (self.root / f"{name}.log").read_text()[-4000:]

    def close(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()

    def found(self) -> None:
        """Governors make keys and a source; the operator prepares gateway and enclave."""
        told = self.crimson("gateway", "init", "--home", self.gateway, "--port", 0)
        for name in ("alice", "bob", "carol", "publisher"):
            self.crimson("policy", "key", "new", name, "--out", self.keys / f"{name}.pem")
        (self.enclave / "keys").mkdir(parents=True, mode=0o700)
        self.crimson("policy", "key", "new", "evidence-root", "--out", self.enclave / "keys" / "root.pem")
        measured = self.crimson("enclave", "measure")["measurement"]
        self.crimson(
            *("policy", "init", self.governors, "--federation", "tour", "--governors", "alice,bob,carol"),
            *("--threshold", 2, "--operator", f"operator={told['operator_public']}"),
            *("--measurement", measured, "--sim-root", self.enclave / "keys" / "root.pub"),
        )
        for name in ("alice", "bob", "carol", "publisher"):
            shutil.copy(self.keys / f"{name}.pub", self.governors / "governors")

    def publish(self, signers: tuple[str, ...] = ("alice", "bob")) -> dict[str, Any]:
        """Two governors sign, the publisher publishes."""
        for name in signers:
            key = self.keys / f"{name}.pem"
            self.crimson(
                "policy", "sign", self.governors, "--key", key, "--repository", self.repository, "--yes"
            )
        key = self.keys / "publisher.pem"
        return self.crimson(
            "policy", "publish", self.governors, "--repository", self.repository, "--publisher-key", key
        )

    def deliver(self, *homes: Path) -> None:
        """Copy the repository to homes, the bundle last, as the operator guide says."""
        for home in homes:
            home.mkdir(exist_ok=True, mode=0o700)
            shutil.copy(self.repository / "metadata" / "1.root.json", home / "root.json")
            shutil.copytree(
                self.repository,
                home / "policy",
                dirs_exist_ok=True,
                ignore=shutil.ignore_patterns("policy.bundle"),
            )
            shutil.copy(self.repository / "policy.bundle", home / "policy" / "new")
            os.replace(home / "policy" / "new", home / "policy" / "policy.bundle")

    def serve(self) -> None:
        """Start enclave and gateway, quick enough for a test."""
        path = self.gateway / "gateway.json"
        quick = {"gather_seconds": 60, "phase_seconds": 30, "grace_seconds": 0.3, "metrics_port": 0}
        socket = self.root / "e.sock"
        path.write_text(json.dumps(json.loads(path.read_text()) | quick | {"enclave_socket": str(socket)}))
        self.start("enclave_", "enclave", "serve", "--home", self.enclave, "--socket", socket)
        url = self.start("gateway_", "gateway", "serve", "--home", self.gateway)["url"]
        # Once it is known, commands on this machine find it in the settings.
        port = int(url.rsplit(":", 1)[1])
        path.write_text(json.dumps(json.loads(path.read_text()) | {"port": port}))

    def operate(self, *words: object, code: int = 0) -> dict[str, Any]:
        """A command of the gateway's operator."""
        return self.crimson("gateway", *words, "--home", self.gateway, code=code)

    def until_active(self, *sites: str, seconds: float = 30) -> None:
        """Wait until the gateway follows a policy in which these sites, and no others, are active."""
        end, nodes = time.monotonic() + seconds, []
        while time.monotonic() < end:
            nodes = self.operate("nodes")["nodes"]
            if {node["node"] for node in nodes if node["status"] == "active"} == set(sites):
                return
            time.sleep(0.3)
        raise AssertionError((nodes, self.log("gateway_")))
