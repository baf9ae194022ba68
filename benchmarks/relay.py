"""What the gateway costs per byte of an upload: over bare sockets that do the same work, and with TLS over without."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.playground import MODEL

from benchmarks.goals import Row, at_most
from benchmarks.processes import LAUNCHER, Parties, Process, cpu_seconds, place, process_parties, running
from benchmarks.uploads import Uploaders, submitting_rounds
from crimson_protocol.layout import Layout

CONNECTIONS = 8
RELAY_GOAL = 1 / 0.7
TLS_GOAL = 1 / 0.6
TWICE = 2
"""Vectors that a node may send in one attempt (crimson_gateway.store.uploads.MOST_PAYLOADS)."""


@dataclass
class Sink:
    """A server that takes uploads. `rounds` gives ids to send to, `forget` removes what was stored."""

    process: Process
    uploaders: Uploaders
    rounds: Callable[[int], list[int]]
    forget: Callable[[], None]

    def cost(self, uploads: int, length: int) -> float:
        """The server's CPU seconds per byte."""
        rounds = self.rounds(uploads)
        before = cpu_seconds(self.process.pid)
        sent = self.uploaders.upload(rounds, length)
        cost = (cpu_seconds(self.process.pid) - before) / sent
        self.forget()
        return cost


def relay(parameters: int, uploads: int, repeats: int) -> list[Row]:
    """Signed vectors of 4 d bytes from 8 nodes, each over a connection of its own, `uploads` from each at a time.

    The three servers take turns and stream to disk, hash, sync and rename; the least cost of each counts.
    """
    parties = process_parties(CONNECTIONS, parameters)
    length = Layout(parties.policy.rules(MODEL).numbers).packed
    with ExitStack() as stack:
        sinks = [stack.enter_context(sink) for sink in _sinks(parties)]
        costs = [[sink.cost(uploads, length) for sink in sinks] for _ in range(repeats + 1)]
    bare, clear, tls = (min(column) for column in zip(*costs[1:], strict=True))
    at = f"{CONNECTIONS} uploads of {length / 1e6:.1f} MB at once"
    return [
        at_most(f"gateway CPU per byte without TLS, {at}", clear / bare, RELAY_GOAL, "x bare sockets"),
        at_most(f"gateway CPU per byte with TLS, {at}", tls / clear, TLS_GOAL, "x without TLS"),
    ]


def _sinks(parties: Parties) -> "list[contextmanager[Sink]]":
    return [_bare(parties), _gateway(parties, "benchmarks.gateway_without_tls"), _gateway(parties, LAUNCHER)]


@contextmanager
def _bare(parties: Parties) -> Iterator[Sink]:
    with place(parties) as here:
        folder = here.homes.root / "stored"
        folder.mkdir()

        def forget() -> None:
            for path in folder.iterdir():
                path.unlink()

        log = here.homes.logs / "bare.log"
        with (
            running("benchmarks.bare_relay", str(folder), log=log) as process,
            Uploaders(process.ready["url"], parties, None, CONNECTIONS) as uploaders,
        ):
            yield Sink(process, uploaders, lambda uploads: [1] * uploads, forget)


@contextmanager
def _gateway(parties: Parties, module: str) -> Iterator[Sink]:
    with place(parties) as here, here.gateway(module) as process:
        home = here.homes.gateway
        url = process.ready["url"] if module == LAUNCHER else process.ready["url"].replace("https", "http")

        def rounds(uploads: int) -> list[int]:
            fresh = submitting_rounds(home, MODEL, -(-uploads // TWICE))
            return [fresh[upload // TWICE] for upload in range(uploads)]

        def forget() -> None:
            shutil.rmtree(home / "spool" / "rounds")

        with Uploaders(url, parties, here.homes.authority, CONNECTIONS) as uploaders:
            yield Sink(process, uploaders, rounds, forget)
