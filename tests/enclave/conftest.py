"""Enclaves for tests: a session over a real state folder, served by a real socket, in this process or another."""

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.enclave.hosting import Client, Hosted, now, real_parties, start, write_home
from tests.playground import MODEL, Parties, entropy, initial

from crimson_enclave.followed import follow, newest
from crimson_enclave.host.folder import StateFolder
from crimson_enclave.host.gate import Gate
from crimson_enclave.host.keeper import open_folder, reload
from crimson_enclave.host.launcher import RunningEnclave, open_socket
from crimson_enclave.host.server import Server
from crimson_enclave.host.start import Started
from crimson_enclave.host.start import start as start_session
from crimson_enclave.instance import Attester
from crimson_enclave.measurement import measure
from crimson_enclave.sealed.vault import Vault
from crimson_enclave.totals import Totals
from crimson_protocol.policy.update import Trust, anchor_of
from crimson_protocol.secret.sealing import SealKey


@dataclass
class Inline:
    """An enclave in this process, without isolation, over a state folder on disk and a socket in a thread."""

    home: Path
    parties: Parties
    patience: float = 30.0
    opened: list[tuple[Totals, tuple[int, ...]]] = field(default_factory=list)
    started: Started | None = None
    starts: int = 0

    @property
    def state(self) -> Path:
        return self.home / "state"

    def vault(self) -> Vault:
        return Vault(
            SealKey(entropy("seal")(32)), anchor_of(self.parties.first_root), entropy(f"{self.starts}")
        )

    def start(self) -> Started:
        """Start, or start again, on the folder."""
        self.starts += 1
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        policy, vault = self.parties.policy, self.vault()
        folder = StateFolder(self.state)
        try:
            state = open_folder(folder, vault)
            kept = [folder.read(state.bundle)] if state else []
            trust = state.trust if state else Trust.anchored(self.parties.first_root)
            followed = newest(trust, [self.parties.signed, *kept], now())
            before = follow(Trust.anchored(self.parties.first_root), kept[0], 0).policy if kept else None
            reloaded = reload(folder, vault, state, followed, {MODEL: initial(policy.models[0].numbers)})
            attester = Attester(self.parties.root, measure())
            self.started = start_session(
                followed,
                before,
                vault,
                folder,
                reloaded,
                attester,
                observer=lambda *seen: self.opened.append(seen),
            )
        except BaseException:
            folder.close()
            raise
        self.folder = folder
        return self.started

    def serve(self) -> Path:
        """Start and answer on a socket until the test ends; the socket."""
        started = self.start()
        gate = Gate(started)
        place = self.home / f"{self.starts}.sock"
        server = Server(open_socket(place), gate, self.patience)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        return place

    def crash(self) -> None:
        """Forget everything but the folder."""
        self.folder.close()
        self.started = None

    def copy(self, home: Path) -> "Inline":
        """Another machine with a copy of the state."""
        shutil.copytree(self.state, home / "state")
        return Inline(home, self.parties)


@pytest.fixture(scope="session")
def parties() -> Parties:
    return real_parties()


@pytest.fixture
def inline(tmp_path: Path, parties: Parties) -> Inline:
    return Inline(tmp_path / "enclave", parties)


@pytest.fixture
def hosted(tmp_path: Path, parties: Parties, inline: Inline) -> Hosted:
    """Agents of the same parties; connect() leads to the inline enclave once it serves."""
    return Hosted(tmp_path / "nodes", parties, lambda: Client(inline.home / f"{inline.starts}.sock"))


@pytest.fixture
def process(tmp_path: Path, parties: Parties) -> Iterator[Callable[..., RunningEnclave]]:
    """Starts real enclave processes on one home; they are gone at the end."""
    home, running = write_home(tmp_path / "enclave", parties), []

    def launch(**options: object) -> RunningEnclave:
        running.append(start(home, **options))
        return running[-1]

    yield launch
    for enclave in running:
        enclave.stop()
