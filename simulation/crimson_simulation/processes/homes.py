"""The home folders of a simulated federation's processes, as an operator and each site would have made them."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from crimson_node.durable import make_folder, write_file
from crimson_protocol.secret.key_files import to_pem
from crimson_simulation.parties import Parties

LOCAL = "127.0.0.1"
LAUNCHER = "crimson_protocol.launcher"


@dataclass(frozen=True)
class Deadlines:
    """How long the gateway waits, in seconds: for nodes to train, for one phase, and once a quorum answered."""

    gather: float = 120.0
    phase: float = 60.0
    grace: float = 1.0


@dataclass(frozen=True)
class Homes:
    """Where each process lives."""

    root: Path

    @property
    def enclave(self) -> Path:
        return self.root / "enclave"

    @property
    def gateway(self) -> Path:
        return self.root / "gateway"

    @property
    def socket(self) -> Path:
        """The enclave's socket. Its name has a length limit, so it is not below a run's folder."""
        name = hashlib.sha256(str(self.root).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"crimson-{os.getuid()}-{name}" / "enclave.sock"

    @property
    def authority(self) -> Path:
        """The certificate authority that the gateway made for itself."""
        return self.gateway / "tls" / "ca.pem"

    @property
    def operator_key(self) -> Path:
        return self.gateway / "keys" / "operator.pem"

    @property
    def opened(self) -> Path:
        """Where the launcher leaves the opened sums that the enclave's witness hands out."""
        return self.root / "witness" / "opened"

    def node(self, index: int) -> Path:
        return self.root / "nodes" / f"{index:03d}"

    def encoded(self, index: int) -> Path:
        """Where a node's witness leaves the vector before masking."""
        return self.root / "witness" / f"{index:03d}.npy"

    def fault(self, index: int) -> Path:
        """Where a node of a simulation reads at which point it is to die."""
        return self.root / "faults" / f"{index:03d}"

    @property
    def poisoned(self) -> Path:
        """Where attackers keep what they made of their sites' files."""
        return self.root / "poisoned"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def forget_socket(self) -> None:
        """The enclave is gone: remove the one folder outside the run's own."""
        shutil.rmtree(self.socket.parent, ignore_errors=True)

    def forget_vectors(self) -> None:
        """Remove what the sites encoded before masking: only the comparison needs it."""
        shutil.rmtree(self.root / "witness", ignore_errors=True)

    def prepare(self) -> None:
        """Make the folders of the simulation itself."""
        self.forget_socket()
        for folder in (self.opened, self.root / "faults", self.logs):
            make_folder(folder)


def write_enclave_home(homes: Homes, parties: Parties) -> None:
    """The published policy, its first root, and the software root that stands in for hardware."""
    _write_trust(homes.enclave, parties)
    write_file(_ready(homes.enclave / "keys" / "root.pem"), to_pem(parties.root))


def write_gateway_home(homes: Homes, parties: Parties, deadlines: Deadlines) -> None:
    """What `crimson gateway init` makes, then the policy, its operator's key and this run's deadlines."""
    command = [sys.executable, "-m", LAUNCHER, "gateway", "init", "--home", str(homes.gateway)]
    subprocess.run([*command, "--host", LOCAL, "--json"], check=True, capture_output=True)  # noqa: S603 our own
    settings = json.loads((homes.gateway / "gateway.json").read_text())
    settings |= {
        "port": 0,
        "metrics_port": 0,
        "enclave_socket": str(homes.socket),
        "gather_seconds": deadlines.gather,
        "phase_seconds": deadlines.phase,
        "grace_seconds": deadlines.grace,
    }
    write_file(homes.gateway / "gateway.json", json.dumps(settings, indent=2).encode())
    write_file(homes.operator_key, to_pem(parties.operator))
    _write_trust(homes.gateway, parties)


def fix_port(homes: Homes, url: str) -> None:
    """From its next start on, the gateway takes the port that it was given at the first."""
    path = homes.gateway / "gateway.json"
    settings = json.loads(path.read_text()) | {"port": urlsplit(url).port}
    write_file(path, json.dumps(settings, indent=2).encode())


def write_node_home(homes: Homes, parties: Parties, index: int, gateway: str) -> None:
    """What joining leaves at a site: its keys, the federation's first root, the gateway's address and authority."""
    home, keys = homes.node(index), parties.keys[index]
    settings = {
        "gateway": gateway,
        "node": parties.names[index],
        "ca_file": "ca.pem",
        "data": str(parties.files[index].resolve()),
    }
    make_folder(home)
    write_file(_ready(home / "keys" / "identity.pem"), to_pem(keys.identity))
    write_file(home / "keys" / "encryption.pem", to_pem(keys.encryption))
    write_file(home / "root.json", parties.anchor)
    write_file(home / "ca.pem", homes.authority.read_bytes())
    write_file(home / "node.json", json.dumps(settings, indent=2).encode())


def _write_trust(home: Path, parties: Parties) -> None:
    write_file(_ready(home / "root.json"), parties.anchor)
    for name, content in parties.repository.items():
        write_file(_ready(home / "policy" / name), content)


def _ready(path: Path) -> Path:
    make_folder(path.parent)
    return path
