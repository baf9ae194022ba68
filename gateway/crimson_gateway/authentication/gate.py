"""The gate in front of every signed path: length, signature, limits, nonce, in this order."""

import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.requests import Request

from crimson_gateway.authentication.callers import Caller, Callers
from crimson_gateway.authentication.nonces import NonceBook
from crimson_gateway.authentication.signatures import (
    HeaderLines,
    RequestHead,
    announced_digest,
    announced_length,
    verified_caller,
)
from crimson_gateway.limits import Concurrency, TokenBuckets, network_of
from crimson_gateway.problems import Problem
from crimson_gateway.settings import GatewaySettings

BURST = 4
"""Seconds' worth of requests that may come at once."""
FAILURES_AT_ONCE = 20


@dataclass(frozen=True)
class Signed:
    """A request whose head is authentic. Its body, `length` bytes with SHA-256 `digest`, is not read yet."""

    caller: Caller
    request: Request
    length: int
    digest: bytes


class Gate:
    """Admits signed requests. `refused` is called with the code of every one that is not admitted.

    `callers` is replaced whole when policy, invitations or suspensions change.
    """

    def __init__(
        self,
        callers: Callers,
        nonces: NonceBook,
        settings: GatewaySettings,
        refused: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.callers, self._nonces, self._clock, self._refused = callers, nonces, clock, refused
        self._failures = TokenBuckets(settings.failure_rate, FAILURES_AT_ONCE * settings.failure_rate)
        self._rate = TokenBuckets(settings.key_rate, BURST * settings.key_rate)
        self._at_once = Concurrency(settings.key_concurrency)

    @asynccontextmanager
    async def admitted(self, request: Request, cap: int) -> AsyncIterator[Signed]:
        """A request with at most `cap` bytes of body, while it is served. Raises Problem."""
        headers = HeaderLines(request.scope["headers"])
        length = announced_length(headers, cap)
        now = int(self._clock())
        try:
            digest = announced_digest(headers)
            caller, nonce = verified_caller(_head(request, headers), self.callers, now)
        except Problem as problem:
            self._refused(problem.code)
            self._charge_failure(request)
            raise
        self._rate.charge(caller.key_id)
        with self._at_once.one(caller.key_id):
            try:
                await self._nonces.spend(caller.key_id, nonce, caller.node, now)
            except Problem as problem:
                self._refused(problem.code)
                raise
            yield Signed(caller, request, length, digest)

    def refuse_held(self, caller: Caller) -> None:
        """Raise the Problem that stands against a caller by now, and count it."""
        try:
            self.callers.refuse_held(caller, int(self._clock()))
        except Problem as problem:
            self._refused(problem.code)
            raise

    def _charge_failure(self, request: Request) -> None:
        """Failures of one address are slowed down; a good signature from there is not, so it hurts nobody else."""
        self._failures.charge(network_of(address_of(request)))


def address_of(request: Request) -> str:
    """The peer's address; proxies are not believed about others."""
    return request.client.host if request.client else "?"


_AUTHORITY = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


def _head(request: Request, headers: HeaderLines) -> RequestHead:
    """The head as it was signed. An authority or path that would end early in a URL is refused: the rest of it
    could stand in for the path that was signed."""
    scope, host = request.scope, headers.only("host") or ""
    path = (scope.get("raw_path") or b"").decode("latin-1")
    query = scope["query_string"].decode("latin-1")
    if not _AUTHORITY.fullmatch(host) or not path.startswith("/") or "#" in path + query or "?" in path:
        raise Problem("unsigned", "the Host field or the path is not of their form")
    return RequestHead(scope["method"], f"https://{host}{path}?{query}", headers)
