"""One signed question and its answer over HTTPS: retried where that is safe, bounded before it is read."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx

from crimson_node.transport.backoff import Backoff
from crimson_node.transport.errors import AuthenticationFailed, BadAnswer, TimedOut, Transient
from crimson_node.transport.failures import busy, connection_failure, refusal
from crimson_node.transport.signing import RequestSigner
from crimson_node.transport.trust import ProxyRoute
from crimson_protocol.secret.keys import IdentityKey
from crimson_protocol.wire import web

PIECE = 1 << 18
MAX_PROBLEM = 1 << 14
CONNECT_SECONDS, QUIET_SECONDS, WHOLE_SECONDS = 10.0, 30.0, 60.0
SLOWEST = 16 << 10
"""Bytes a second below which an answer counts as trickled."""
UNKNOWN_KEY = "bad-signature"
"""How a gateway refuses a signature of a key that it does not know; it says no more to strangers."""
BUSY = (408, 429, 500, 502, 503, 504, 507)


class Patience(Protocol):
    """How long a question is asked again."""

    def pause(self, error: Transient, tries: int, seconds: float) -> None:
        """Wait before the next try, or raise `error` (or stop) where there is none."""


@dataclass(frozen=True)
class Body:
    """A request's body: its length, its digest, and its bytes as often as they are needed."""

    length: int
    digest: bytes
    pieces: Callable[[], Iterator[bytes]] = field(repr=False)

    @classmethod
    def of(cls, data: bytes) -> "Body":
        """A body in memory."""
        return cls(len(data), hashlib.sha256(data).digest(), lambda: iter([data] if data else []))

    @classmethod
    def file(cls, path: Path, length: int, digest: bytes) -> "Body":
        """A body streamed from a file whose length and SHA-256 are known."""
        return cls(length, digest, lambda: _file_pieces(path))


EMPTY = Body.of(b"")


def _file_pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


@dataclass(frozen=True)
class Question:
    """A request: what is asked, and which answers may come. `media` None: the answer's body is not read.

    cap: most bytes of the answer. wait: seconds that the gateway may hold the answer back.
    """

    method: str
    path: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Body = EMPTY
    media: str | None = None
    cap: int = 0
    wait: int = 0
    signed: bool = True


@dataclass(frozen=True)
class Answer:
    """A successful answer."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    extensions: Mapping[str, object] = field(default_factory=dict, repr=False)


class Client:
    """Asks one gateway. Every try is signed anew and carries the same body bytes."""

    def __init__(
        self,
        gateway: str,
        transport: httpx.BaseTransport,
        signer: RequestSigner,
        patience: Patience,
        clock: Callable[[], int],
        proxy: ProxyRoute | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._gateway, self._transport, self._signer = httpx.URL(gateway), transport, signer
        self._patience, self._clock, self._proxy = patience, clock, proxy
        self._backoff = backoff or Backoff()

    def ask(self, question: Question) -> Answer:
        """The answer. Raises TransportFailed: Problem where the gateway refuses, Transient where patience ends."""
        tries = 0
        while True:
            try:
                return self._ask_as_known(question)
            except Transient as error:
                self.pause(error, tries)
                tries += 1

    def sign_as(self, key: IdentityKey) -> None:
        """Sign with another key from now on."""
        self._signer = self._signer.with_key(key)

    def pause(self, error: Transient, tries: int) -> None:
        """Wait before another try, or raise `error` where patience ends."""
        self._patience.pause(error, tries, self._backoff.pause(tries, error.after))

    def _ask_as_known(self, question: Question) -> Answer:
        """One try, and one more with the spare key where the gateway does not know the one in use. What a node signs
        in a round, and which key is its own, is the policy's to say and not changed by this."""
        try:
            return self.ask_once(question)
        except AuthenticationFailed as error:
            spare = self._signer.with_spare() if error.code == UNKNOWN_KEY else None
            if spare is None:
                raise
            before, self._signer = self._signer, spare
            try:
                return self.ask_once(question)
            except AuthenticationFailed:
                self._signer = before
                raise error from None

    def ask_once(self, question: Question) -> Answer:
        """One try, without a second."""
        request = self._request(question)
        started = time.monotonic()
        try:
            response = self._transport.handle_request(request)
            try:
                return self._answer(question, response, started + WHOLE_SECONDS + question.wait)
            finally:
                response.close()
        except httpx.HTTPError as error:
            raise connection_failure(error, self._gateway.host, self._proxy) from error

    def close(self) -> None:
        """Close every connection."""
        self._transport.close()

    def _request(self, question: Question) -> httpx.Request:
        body = question.body
        headers = {
            "Host": self._gateway.netloc.decode(),
            "User-Agent": "crimson-node",
            "Accept": f"{question.media or '*/*'}, {web.PROBLEM}",
            "Accept-Encoding": "identity",
            "Content-Length": str(body.length),
            "Content-Digest": web.content_digest(body.digest),
        }
        if body.length:
            headers["Content-Type"] = web.OCTETS
        quiet = QUIET_SECONDS + question.wait
        timeouts = {
            "connect": CONNECT_SECONDS,
            "read": quiet,
            "write": QUIET_SECONDS,
            "pool": CONNECT_SECONDS,
        }
        url = self._gateway.copy_with(raw_path=question.path.encode())
        if question.query:
            url = url.copy_with(params={name: str(value) for name, value in question.query.items()})
        request = httpx.Request(
            question.method, url, headers=headers, content=body.pieces(), extensions={"timeout": timeouts}
        )
        if question.signed:
            self._signer.sign(request)
        return request

    def _answer(self, question: Question, response: httpx.Response, deadline: float) -> Answer:
        status = response.status_code
        if status in BUSY:
            raise busy(status, response.headers.get("retry-after"), self._clock())
        if status >= 400:
            raise refusal(response, self._problem(response, deadline), self._clock())
        if not 200 <= status < 300:
            raise BadAnswer(
                f"the gateway answered {status}", "a gateway redirects nowhere: check its address"
            )
        if question.media is None or status == 204:
            # Read to its end all the same, so that the connection serves the next question.
            body = _read(response, MAX_PROBLEM, deadline)
        else:
            _require_media(response, question.media)
            body = _read(response, question.cap, deadline)
        return Answer(status, body, dict(response.headers), dict(response.extensions))

    def _problem(self, response: httpx.Response, deadline: float) -> bytes:
        try:
            _require_media(response, web.PROBLEM)
            return _read(response, MAX_PROBLEM, deadline)
        except BadAnswer:
            return b""


def _require_media(response: httpx.Response, media: str) -> None:
    given = response.headers.get("content-type", "").split(";")[0].strip().lower()
    if given != media:
        shown = given if given.isprintable() and len(given) < 64 else "something else"
        hint = "a proxy may have answered in the gateway's place: crimson node doctor shows who answers"
        raise BadAnswer(f"the answer is {shown or 'of no type'} and not {media}", hint, "wrong-content-type")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise BadAnswer("the answer is compressed", "no Crimson gateway compresses", "wrong-content-type")


def _read(response: httpx.Response, cap: int, deadline: float) -> bytes:
    """The body, refused by its declared length before a byte is read, and by its real length after."""
    declared = response.headers.get("content-length", "0")
    if not declared.isascii() or not declared.isdigit() or int(declared[:20]) > cap:
        raise _too_large(cap)
    pieces, length = [], 0
    for piece in response.iter_raw():
        length += len(piece)
        if length > cap:
            raise _too_large(cap)
        pieces.append(piece)
        if time.monotonic() > deadline + length / SLOWEST:
            raise TimedOut(
                "the gateway trickles its answer", "try again; a proxy on the way may be overloaded"
            )
    return b"".join(pieces)


def _too_large(cap: int) -> BadAnswer:
    return BadAnswer(f"the answer is larger than {cap} bytes", "nothing was read", "answer-too-large")
