"""Wakes long-polls of this process when the database has something new for them."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar

Found = TypeVar("Found")


class Bells:
    """One bell per topic; whoever waits on it looks at the database again when it rings."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, set[asyncio.Future[None]]] = {}
        self._closed = False

    def ring(self, topic: Hashable) -> None:
        """Wake everybody who waits on the topic."""
        for future in self._waiting.pop(topic, ()):
            if not future.done():
                future.set_result(None)

    def ring_all(self) -> None:
        """Wake everybody: what anybody may see has changed."""
        for topic in list(self._waiting):
            self.ring(topic)

    def close(self) -> None:
        """Wake everybody, and let nobody wait again: the process stops."""
        self._closed = True
        self.ring_all()

    async def until(
        self, topic: Hashable, look: Callable[[], Awaitable[Found | None]], seconds: float
    ) -> Found | None:
        """What `look` finds, asked now and after every ring until it finds something or time is up."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while True:
            future: asyncio.Future[None] = loop.create_future()
            self._waiting.setdefault(topic, set()).add(future)
            try:
                found = await look()
                left = end - loop.time()
                if found is not None or left <= 0 or self._closed:
                    return found
                async with asyncio.timeout(left):
                    await future
            except TimeoutError:
                return await look()
            finally:
                waiting = self._waiting.get(topic)
                if waiting is not None:
                    waiting.discard(future)
                    if not waiting:
                        self._waiting.pop(topic, None)
