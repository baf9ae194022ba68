"""Fixtures for nodes as services: a certificate authority, a relay, and runners in threads."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from tests.node.certificates import Authority
from tests.node.federation import Homes
from tests.node.front_desk import FrontDesk
from tests.node.relay import Relay
from tests.node.victims import Victims

from crimson_node.service.events import Event
from crimson_node.service.process import Pace, serve
from crimson_node.service.stopping import Stop
from crimson_node.transport.backoff import Backoff

QUICK = Pace(pauses=(0.05,), backoff=Backoff(0.02, 0.2), longest=20.0)


class Running:
    """One node in a thread: what it said, and how it ended."""

    def __init__(self, home: Path, **options: object) -> None:
        self.home, self.events, self.error = home, [], None
        self.stop = Stop()
        self._options = {"pace": QUICK, **options}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            serve(self.home, report=self.events.append, stop=self.stop, **self._options)
        except Exception as error:
            self.error = error

    def said(self, name: str) -> list[Event]:
        """Events of this name so far."""
        return [event for event in list(self.events) if event.name == name]

    def join(self, seconds: float = 60.0) -> None:
        """Wait for its end."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), [event.text() for event in self.events][-20:]

    def ended(self, seconds: float = 60.0) -> BaseException | None:
        """The error it ended with, once it has."""
        self.join(seconds)
        return self.error


class Federation:
    """A relay and its nodes."""

    def __init__(self, homes: Homes, relay: Relay, authority: Authority) -> None:
        self.homes, self.relay, self.authority = homes, relay, authority
        self.running: dict[int, Running] = {}

    def write(self, index: int, **settings: object) -> Path:
        """A node's home."""
        home = self.homes.write(index, self.relay.url, **settings)
        (home / "ca.pem").write_bytes(self.authority.pem())
        return home

    def start(self, *indices: int, settings: dict[str, object] | None = None, **options: object) -> None:
        """Nodes in threads; all by default."""
        for index in indices or range(self.homes.nodes):
            home = self.homes.home(index)
            if not home.exists():
                self.write(index, **(settings or {}))
            self.running[index] = Running(home, **options)

    def stop(self, *indices: int) -> None:
        """Ask nodes to stop and wait until they have."""
        for index in indices or list(self.running):
            self.running[index].stop.request()
        for index in indices or list(self.running):
            self.running[index].join()

    def round(self, model: str) -> str:
        """One round; how it ended."""
        return self.relay.wait_over(self.relay.call(model))


@pytest.fixture(autouse=True)
def no_proxy_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever network the tests run in."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def quick() -> Callable[..., Pace]:
    """A pace for tests; the arguments change it."""
    return lambda **changes: replace(QUICK, **changes)


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority("test-authority")


@pytest.fixture
def federation(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., Federation]]:
    """Makes federations whose relay runs until the test ends."""
    with ExitStack() as stack:
        made = []

        def make(nodes: int = 4, certificate: Path | None = None, **options: object) -> Federation:
            folder = tmp_path / f"federation-{len(made)}"
            folder.mkdir()
            homes = Homes(folder, nodes)
            relay = stack.enter_context(Relay(homes, certificate or authority.issue(folder), **options))
            made.append(Federation(homes, relay, authority))
            return made[-1]

        yield make
        for one in made:
            for node in one.running.values():
                node.stop.request()
            one.relay.hush()
            one.stop()


@pytest.fixture
def desk(tmp_path: Path, authority: Authority) -> Iterator[FrontDesk]:
    """A gateway's desk for sites that join, in a federation of four."""
    folder = tmp_path / "desk"
    folder.mkdir()
    with FrontDesk(folder, authority) as one:
        yield one


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where a site will live; nothing is there yet."""
    return tmp_path / "site" / "node"


@pytest.fixture(scope="session")
def victims() -> Iterator[Victims]:
    """Runs commands that kill themselves."""
    one = Victims()
    yield one
    one.close()
