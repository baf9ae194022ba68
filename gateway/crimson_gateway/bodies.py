"""Bodies as they arrive: never longer than announced, never slower than the minimum rate."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

from starlette.requests import Request

from crimson_gateway.problems import Problem
from crimson_gateway.settings import GatewaySettings


async def arriving(request: Request, length: int, settings: GatewaySettings) -> AsyncIterator[bytes]:
    """Chunks of a body of exactly `length` bytes.

    A pause of `stall_seconds`, or less than `minimum_rate` bytes a second beyond such a pause, ends it.
    Raises Problem(body-too-slow, body-too-short, body-too-large).
    """
    clock = asyncio.get_running_loop().time
    begin, received, more = clock(), 0, True
    while more:
        allowed = begin + settings.stall_seconds + received / settings.minimum_rate
        try:
            async with asyncio.timeout_at(min(allowed, clock() + settings.stall_seconds)):
                message = await request.receive()
        except TimeoutError as error:
            text = f"{received} of {length} bytes came"
            raise Problem("body-too-slow", text, headers={"Connection": "close"}) from error
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


async def whole(request: Request, length: int, digest: bytes, settings: GatewaySettings) -> bytes:
    """A small body, checked against its digest. Raises what `arriving` does, and Problem(digest-differs)."""
    body = b"".join([chunk async for chunk in arriving(request, length, settings)])
    if hashlib.sha256(body).digest() != digest:
        raise Problem("digest-differs")
    return body
