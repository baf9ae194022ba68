"""Bodies as they arrive: never longer than announced, never slower than the minimum rate."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Self

from starlette.requests import Request

from crimson_gateway.problems import Problem
from crimson_gateway.settings import GatewaySettings


async def arriving(request: Request, length: int, settings: GatewaySettings) -> AsyncIterator[bytes]:
    """Chunks of a body of exactly `length` bytes.

    A pause of `stall_seconds`, or less than `minimum_rate` bytes a second beyond such a pause, ends it.
    Raises Problem(body-too-slow, body-too-short, body-too-large).
    """
    received, more = 0, True
    with _Watch(settings) as watch:
        while more:
            try:
                watch.begin(received)
                message = await request.receive()
            except asyncio.CancelledError as error:
                if not watch.ended_it():
                    raise
                text = f"{received} of {length} bytes came"
                raise Problem("body-too-slow", text, headers={"Connection": "close"}) from error
            finally:
                watch.pause()
            if message["type"] != "http.request":
                raise Problem("body-too-short", f"{received} of {length} bytes came")
            chunk: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            received += len(chunk)
            if received > length:
                raise Problem("body-too-large", f"more than the announced {length} bytes came")
            if chunk:
                yield chunk
    if received < length:
        raise Problem("body-too-short", f"{received} of {length} bytes came")


class _Watch:
    """One timer for a whole body: it looks when the wait that it was set for would be over, and is set again where
    that has moved. A timer for every chunk costs more than taking the chunk."""

    def __init__(self, settings: GatewaySettings) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._loop, self._task, self._asked = asyncio.get_running_loop(), task, task.cancelling()
        self._stall, self._rate = settings.stall_seconds, settings.minimum_rate
        self._allowed = self._loop.time() + self._stall
        self._due: float | None = None
        self._over = False
        self._timer = self._loop.call_at(self._allowed, self._look)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def begin(self, received: int) -> None:
        """The sender's time runs, for the next message after `received` bytes. When it is over, this task's wait
        is cancelled."""
        self._due = min(self._allowed + received / self._rate, self._loop.time() + self._stall)
        if self._due < self._timer.when():
            self._set(self._due)

    def pause(self) -> None:
        """A message came: what is done with it is not the sender's time."""
        self._due = None

    def ended_it(self) -> bool:
        """Whether the cancellation that was caught is this watch's, and nobody else's."""
        return self._over and self._task.uncancel() <= self._asked

    def _look(self) -> None:
        now = self._loop.time()
        due = now + self._stall if self._due is None else self._due
        if due <= now:
            self._over = True
            self._task.cancel()
        else:
            self._set(due)

    def _set(self, when: float) -> None:
        self._timer.cancel()
        self._timer = self._loop.call_at(when, self._look)


async def whole(request: Request, length: int, digest: bytes, settings: GatewaySettings) -> bytes:
    """A small body, checked against its digest. Raises what `arriving` does, and Problem(digest-differs)."""
    body = b"".join([chunk async for chunk in arriving(request, length, settings)])
    if hashlib.sha256(body).digest() != digest:
        raise Problem("digest-differs")
    return body
