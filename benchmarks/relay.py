"""What an upload costs the gateway: over bare sockets that do the same work, and with TLS over without.

An upload costs CPU for each byte, and CPU for being one signed request: its signature, its nonce and its row
are checked and made durable whatever the vector's length. The first is what relaying costs and has a goal. The
second is paid once per vector and is in the figure of whole uploads.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.goals import Row, at_most, reported
from benchmarks.processes import LAUNCHER, Parties, Process, cpu_seconds, place, process_parties, running
from benchmarks.uploads import Uploaders, submitting_rounds
from crimson_protocol.layout import Layout

CONNECTIONS = 8
LARGER = 4
"""The marginal byte is priced between vectors of d and of 4 d parameters."""
RELAY_GOAL, TLS_GOAL = round(1 / 0.7, 2), round(1 / 0.6, 2)
"""0.7 of the bytes per CPU-second of bare sockets, and 0.6 with TLS of those without."""
TWICE = 2
"""Vectors that a node may send in one attempt (crimson_gateway.store.uploads.MOST_PAYLOADS)."""


@dataclass
class Sink:
    """A server that takes uploads. `rounds` gives ids to send to, `forget` removes what was stored."""

    process: Process
    uploaders: Uploaders
    rounds: Callable[[str, int], list[int]]
    forget: Callable[[], None]

    def cost(self, model: str, uploads: int, length: int) -> float:
        """The server's CPU seconds for one of `uploads` from every connection."""
        rounds = self.rounds(model, uploads)
        before = cpu_seconds(self.process.pid)
        self.uploaders.upload(rounds, length)
        cost = (cpu_seconds(self.process.pid) - before) / (CONNECTIONS * uploads)
        self.forget()
        return cost


@dataclass(frozen=True)
class Price:
    """Least CPU seconds of one upload of the shorter and of the longer vector."""

    short: float
    long: float

    @property
    def growth(self) -> float:
        """What the bytes between the two lengths cost."""
        return self.long - self.short


def relay(parameters: int, uploads: int, repeats: int) -> list[Row]:
    """Signed vectors of 4 d bytes from 8 nodes, each over a connection of its own, `uploads` from each at a time.

    Bare sockets, the gateway without TLS and the gateway take turns. Each streams to disk, hashes, syncs and
    renames; clients and bytes are the same.
    """
    models = {"short": parameters, "long": LARGER * parameters}
    parties = process_parties(CONNECTIONS, models)
    with ExitStack() as stack:
        sinks = (
            _bare(parties),
            _gateway(parties, "benchmarks.gateway_without_tls"),
            _gateway(parties, LAUNCHER),
        )
        bare, clear, tls = _prices([stack.enter_context(sink) for sink in sinks], parties, uploads, repeats)
    at = f"{CONNECTIONS} connections, vectors of {4 * parameters / 1e6:.1f} MB"
    over_bare, over_clear = "x bare sockets", "x without TLS"
    return [
        at_most(
            f"gateway CPU per further byte, no TLS, {at}", clear.growth / bare.growth, RELAY_GOAL, over_bare
        ),
        at_most(f"gateway CPU per further byte, TLS, {at}", tls.growth / clear.growth, TLS_GOAL, over_clear),
        reported(f"gateway CPU per whole signed upload, no TLS, {at}", clear.short / bare.short, over_bare),
        at_most(
            f"gateway CPU per whole signed upload, TLS, {at}", tls.short / clear.short, TLS_GOAL, over_clear
        ),
    ]


def _prices(sinks: list[Sink], parties: Parties, uploads: int, repeats: int) -> list[Price]:
    lengths = [Layout(parties.policy.rules(model).numbers).packed for model in ("short", "long")]
    fewer = -(-uploads // LARGER)
    costs: list[list[tuple[float, float]]] = [[] for _ in sinks]
    for _ in range(repeats + 1):
        for sink, found in zip(sinks, costs, strict=True):
            found.append((sink.cost("short", uploads, lengths[0]), sink.cost("long", fewer, lengths[1])))
    # The first turn does not count.
    return [Price(*(min(column) for column in zip(*found[1:], strict=True))) for found in costs]


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
            yield Sink(process, uploaders, lambda _, uploads: [1] * uploads, forget)


@contextmanager
def _gateway(parties: Parties, module: str) -> Iterator[Sink]:
    with place(parties) as here, here.gateway(module) as process:
        home = here.homes.gateway
        url = process.ready["url"] if module == LAUNCHER else process.ready["url"].replace("https", "http")

        def rounds(model: str, uploads: int) -> list[int]:
            fresh = submitting_rounds(home, model, -(-uploads // TWICE))
            return [fresh[upload // TWICE] for upload in range(uploads)]

        def forget() -> None:
            shutil.rmtree(home / "spool" / "rounds")

        with Uploaders(url, parties, here.homes.authority, CONNECTIONS) as uploaders:
            yield Sink(process, uploaders, rounds, forget)
