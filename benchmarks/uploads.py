"""Many nodes' uploads at once, through the node's own signed client, over connections that stay open."""

import asyncio
import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.processes import Parties
from crimson_gateway.store.database import Database
from crimson_gateway.store.rounds import add_round
from crimson_node.service.events import Event
from crimson_node.service.process import now
from crimson_node.service.stopping import Stop, Waiting
from crimson_node.settings import NodeSettings
from crimson_node.transport.client import PIECE, Body
from crimson_node.transport.gateway import Gateway, connect

_BLOCK = os.urandom(PIECE)
_SERIAL = itertools.count()


def fresh_body(length: int) -> Body:
    """A body that nobody has sent before. It is made as it is sent: no client holds it."""
    first = (next(_SERIAL).to_bytes(16, "big") + _BLOCK[16:])[:length]

    def pieces() -> Iterator[bytes]:
        yield first
        for start in range(len(first), length, PIECE):
            yield _BLOCK[: length - start]

    digest = hashlib.sha256()
    for piece in pieces():
        digest.update(piece)
    return Body(length, digest.digest(), pieces)


def submitting_rounds(home: Path, model: str, count: int) -> list[int]:
    """Ids of rounds that take vectors, written by the gateway's own store beside the running gateway.

    For a gateway without an enclave, which would not know of these rounds.
    """
    return asyncio.run(_submitting_rounds(home, model, count))


async def _submitting_rounds(home: Path, model: str, count: int) -> list[int]:
    database, begun = Database(home / "gateway.db"), datetime.now(UTC)
    try:
        async with database.writing() as session:
            rounds = []
            for _ in range(count):
                round_ = add_round(session, model, begun, begun + timedelta(hours=1))
                round_.state, round_.number, round_.attempt = "submitting", round_.id, 1
                rounds.append(round_)
        return [round_.id for round_ in rounds]
    finally:
        await database.close()


def node_gateway(url: str, parties: Parties, index: int, authority: Path | None) -> Gateway:
    """A node's side of the API, as its service connects."""
    settings = NodeSettings(url, parties.names[index], Path(os.devnull), ca_file=authority)
    return connect(settings, parties.keys[index].identity, Waiting(Stop(), _quiet, 30.0), now)


def _quiet(event: Event) -> None:
    if event.name != "waiting":
        raise AssertionError(event.text())


class Uploaders:
    """One connection per node."""

    def __init__(self, url: str, parties: Parties, authority: Path | None, count: int) -> None:
        self._gateways = [node_gateway(url, parties, index, authority) for index in range(count)]
        self._threads = ThreadPoolExecutor(count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown()
        for gateway in self._gateways:
            gateway.close()

    def upload(self, rounds: Sequence[int], length: int) -> int:
        """Every node sends a fresh body for each entry of `rounds`, one after the other; bytes sent in all."""
        bodies = [[(round_id, fresh_body(length)) for round_id in rounds] for _ in self._gateways]
        list(self._threads.map(_send, self._gateways, bodies))
        return len(self._gateways) * len(rounds) * length


def _send(gateway: Gateway, bodies: Sequence[tuple[int, Body]]) -> None:
    for round_id, body in bodies:
        gateway.put_payload(round_id, body)
