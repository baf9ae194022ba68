"""The enclave's own host code on a real Unix socket, in a thread of the test: real session, real state on disk."""

import os
import select
import socket
import threading
from pathlib import Path

from tests.playground import MEASUREMENT, Parties, initial
from tests.repositories import write_repository

from crimson_enclave.host.folder import StateFolder
from crimson_enclave.host.gate import Gate
from crimson_enclave.host.home import Home, read_home
from crimson_enclave.host.server import Server
from crimson_enclave.host.start import Started, start_from_home
from crimson_protocol.secret.key_files import to_pem
from crimson_protocol.secret.keys import DualKey


def write_home(home: Path, parties: Parties) -> None:
    """An enclave's home folder."""
    for name in ("keys", "state", "run"):
        (home / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    write_repository(home, parties, [initial(rules.numbers) for rules in parties.policy.models])
    for name, data in (("root.pem", to_pem(DualKey(parties.root.reveal()))), ("seal.key", os.urandom(32))):
        (home / "keys" / name).touch(mode=0o600)
        (home / "keys" / name).write_bytes(data)


class _Stoppable(Server):
    def __init__(self, listener: socket.socket, gate: Gate) -> None:
        super().__init__(listener, gate)
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            # A test process may hold more descriptors than `select` can watch.
            watch = select.poll()
            for watched in (self._listener, *([self._connection] if self._connection else [])):
                watch.register(watched, select.POLLIN)
            if watch.poll(50):
                self.turn()
        self._drop()


class EnclaveHost:
    """Starts, kills and restarts an enclave on one home folder."""

    def __init__(self, home: Path, parties: Parties) -> None:
        self.home, self.parties = Home(home), parties
        write_home(home, parties)
        self.started: Started
        self._server: _Stoppable | None = None

    def start(self) -> None:
        """A new instance on what the disk holds."""
        folder = StateFolder(self.home.state)
        self.started = start_from_home(read_home(self.home), MEASUREMENT, (), folder)
        self._folder = folder
        self.home.socket.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.home.socket))
        self._listener.listen()
        started = self.started
        self._gate = Gate(started)
        self._server = _Stoppable(self._listener, self._gate)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()

    def kill(self) -> None:
        """Memory is gone, connections break; the state on disk stays."""
        if self._server is None:
            return
        self._server.stopping.set()
        self._thread.join(10)
        self._listener.close()
        os.close(self._folder._lock)
        self._server = None

    @property
    def session(self):
        """The session that runs now: another one after each policy that was adopted."""
        return self._gate._session
