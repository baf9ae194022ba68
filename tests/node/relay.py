"""A gateway for tests: real TLS sockets, real signatures, the real enclave session behind it, and no scruples.

It follows the HTTP contract; `alter` changes an answer on its way out, `fail` answers with an error first,
and `hang_up` drops the connection after the request was dealt with.
"""

import hashlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.node.federation import Homes
from tests.node.https_server import Exchange, HttpsServer
from tests.node.relay_rounds import ANSWERS, Refused, Rounds

from crimson_protocol.wire import web
from crimson_protocol.wire.envelope import MAX_BODY, Envelope
from crimson_protocol.wire.table import BY_KIND


@dataclass(frozen=True)
class Seen:
    """One request that passed the signature check."""

    node: int
    method: str
    path: str
    digest: str
    nonce: str


class Relay(Rounds):
    """Serves one federation over HTTPS. `patience`: seconds after which a phase is closed without everybody."""

    def __init__(
        self,
        homes: Homes,
        certificate: Path,
        *,
        patience: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(homes, patience, clock)
        self.signed_policy = homes.parties.signed
        self.artifacts = homes.by_digest()
        self.requests: list[Seen] = []
        self.alter: dict[str, Callable[[bytes, int], bytes | None]] = {}
        self.media: dict[str, str] = {}
        self.fail: dict[str, list[Refused]] = defaultdict(list)
        self.hang_up: dict[str, int] = defaultdict(int)
        self.server = HttpsServer(certificate, self.answer, homes.parties.policy, self.clock)
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "Relay":
        self.server.start()
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.hush()
        self.server.stop()
        self._ticker.join()

    @property
    def url(self) -> str:
        return self.server.url

    # What nodes ask.

    def answer(self, exchange: Exchange) -> tuple[int, str, bytes]:
        """Status, media type and body for one request whose signature holds."""
        if exchange.node is None:
            return 200, "application/json", json.dumps({"version": "0.1.0"}).encode()
        name = _name(exchange.path)
        self.requests.append(
            Seen(
                exchange.node,
                exchange.method,
                exchange.path,
                hashlib.sha256(exchange.body).hexdigest(),
                exchange.nonce,
            )
        )
        if self.fail[name]:
            raise self.fail[name].pop(0)
        status, media, body = getattr(self, f"on_{name}")(exchange)
        if self.hang_up[name]:
            self.hang_up[name] -= 1
            raise ConnectionAbortedError
        changed = self.alter[name](body, exchange.node) if name in self.alter else body
        return status, self.media.get(name, media), body if changed is None else changed

    def on_policy(self, _: Exchange) -> tuple[int, str, bytes]:
        return 200, web.CBOR, self.signed_policy

    def on_artifacts(self, exchange: Exchange) -> tuple[int, str, bytes]:
        digest = exchange.path.rsplit("/", 1)[-1]
        if digest not in self.artifacts:
            raise Refused(404, "unknown-artifact")
        return 200, web.OCTETS, self.artifacts[digest]

    def on_evidence(self, exchange: Exchange) -> tuple[int, str, bytes]:
        instance = self.session.instance
        nonce = bytes.fromhex(exchange.query["nonce"])
        return 200, web.CBOR, instance.attester.attest(instance.claims, nonce, int(self.clock()))

    def on_endorsements(self, exchange: Exchange) -> tuple[int, str, bytes]:
        with self.changed:
            self.session.endorse(exchange.body)
            self.changed.notify_all()
        return 202, "", b""

    def on_consistency(self, exchange: Exchange) -> tuple[int, str, bytes]:
        first, second = int(exchange.query["first"]), int(exchange.query["second"])
        if second > self.log.tree.size:
            raise Refused(404, "log-too-short")
        return 200, web.CBOR, web.ProofHashes(self.log.tree.consistency_proof(first, second)).to_bytes()

    def on_release(self, exchange: Exchange) -> tuple[int, str, bytes]:
        release = self.session.published.get(exchange.path.split("/")[3])
        if release is None:
            raise Refused(404, "no-release")
        return 200, web.CBOR, release

    def on_calls(self, exchange: Exchange) -> tuple[int, str, bytes]:
        after, end = int(exchange.query["after"]), time.monotonic() + int(exchange.query["wait"])
        with self.changed:
            while True:
                for round_ in self.rounds:
                    if round_.id > after and round_.state not in web.OVER:
                        call = web.Call(round_.id, round_.model, round_.number, round_.state, round_.code)
                        return 200, web.CBOR, call.to_bytes()
                if time.monotonic() >= end or self.closing:
                    return 204, "", b""
                self.changed.wait(0.1)

    def on_ready(self, exchange: Exchange) -> tuple[int, str, bytes]:
        with self.changed:
            round_ = self._round(exchange)
            if round_.state != web.GATHERING:
                raise Refused(409, "wrong-phase")
            round_.ready.add(exchange.node)
            self._gather(round_)
        return 204, "", b""

    def on_mail(self, exchange: Exchange) -> tuple[int, str, bytes]:
        query, round_ = exchange.query, self._round(exchange)
        after, end = int(query["after"]), time.monotonic() + int(query["wait"])
        with self.changed:
            while True:
                letters = [
                    web.Letter(place, data)
                    for place, (recipient, data) in enumerate(round_.letters, 1)
                    if place > after and recipient in (None, exchange.node)
                ]
                news = letters or query.get("state", round_.state) != round_.state
                if news or time.monotonic() >= end or self.closing:
                    return 200, web.CBOR, web.Mail(round_.id, round_.state, tuple(letters)).to_bytes()
                self.changed.wait(0.1)

    def on_payloads(self, exchange: Exchange) -> tuple[int, str, bytes]:
        with self.changed:
            round_, digest = self._round(exchange), exchange.path.rsplit("/", 1)[-1]
            assert hashlib.sha256(exchange.body).hexdigest() == digest
            known = digest in round_.payloads
            round_.payloads[digest] = exchange.body
        return 200 if known else 201, "", b""

    def on_envelopes(self, exchange: Exchange) -> tuple[int, str, bytes]:
        with self.changed:
            round_ = self._round(exchange)
            envelope = Envelope.from_bytes(exchange.body, MAX_BODY)
            kind = BY_KIND[envelope.kind]
            if kind.name not in ANSWERS.get(round_.state, ()):
                raise Refused(409, "wrong-phase")
            self._deliver(round_, envelope, exchange)
            self._advance(round_)
        return 202, "", b""


def _name(path: str) -> str:
    parts = path.strip("/").split("/")
    return parts[1] if len(parts) <= 3 and parts[1] != "models" else parts[3]
