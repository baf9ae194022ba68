"""What nodes follow during a round: calls, readiness, and the enclave's letters."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response, StreamingResponse

from crimson_gateway import shelves
from crimson_gateway.api.services import PROBLEMS, Node, Use, binary, existing, node_index
from crimson_gateway.context import utc_now
from crimson_gateway.problems import Problem
from crimson_gateway.spool import Spool
from crimson_gateway.store.letters import round_and_letters
from crimson_gateway.store.rounds import mark_ready, oldest_open, round_by_id
from crimson_gateway.store.tables import Letter, Round
from crimson_protocol.wire import web

LARGEST = 2**53
AT_ONCE = 8 << 20
"""Bytes of letters in one answer; a single larger one travels alone."""
SMALL = 1 << 20
RoundId = Annotated[int, Path(ge=1, le=LARGEST)]
After = Annotated[int, Query(ge=0, le=LARGEST)]
Wait = Annotated[int, Query(ge=0, le=web.MAX_WAIT)]

router = APIRouter(prefix="/v1", tags=["rounds of nodes"], responses=PROBLEMS)


@router.get(
    "/calls",
    response_class=Response,
    responses={**binary(web.CBOR, "A call"), 204: {"description": "No call by now"}},
)
async def calls(services: Use, signed: Node, after: After = 0, wait: Wait = 0) -> Response:
    """The oldest round that is not over, with an id above `after`."""

    async def look() -> Round | None:
        services.refuse_held(signed.caller)
        async with services.context.database.reading() as session:
            return oldest_open(session, after)

    found = await services.context.bells.until("calls", look, wait)
    if found is None:
        return Response(status_code=204)
    call = web.Call(found.id, found.model, found.number, found.state, found.code)
    return Response(call.to_bytes(), media_type=web.CBOR)


@router.put("/rounds/{round_id}/ready", status_code=204, response_class=Response)
async def ready(services: Use, signed: Node, round_id: RoundId) -> Response:
    """The node trained for the round and waits for the offer of its next attempt."""
    context = services.context
    async with context.database.writing() as session:
        round_ = existing(round_by_id(session, round_id))
        if round_.state in web.OVER:
            raise Problem("round-over", f"it is {round_.state}")
        mark_ready(session, round_id, node_index(signed), utc_now())
    context.wake()
    return Response(status_code=204)


@router.get("/rounds/{round_id}/mail", response_class=Response, responses=binary(web.CBOR, "Letters"))
async def mail(
    services: Use,
    signed: Node,
    round_id: RoundId,
    after: After = 0,
    wait: Wait = 0,
    state: Annotated[str | None, Query(max_length=16)] = None,
) -> Response:
    """Letters of the running attempt to this node or to all, after a sequence number.

    Waits until there are some, the round is over or in another state than `state`, or the enclave restarts.
    """
    context, node = services.context, node_index(signed)
    instance = context.view.instance
    last: list[tuple[Round, Sequence[Letter]]] = []

    async def look() -> tuple[Round, Sequence[Letter]] | None:
        services.refuse_held(signed.caller)
        async with context.database.reading() as session:
            found = round_and_letters(session, round_id, node, after)
        if found is None:
            raise Problem("unknown-round")
        round_, letters = found
        last[:] = [found]
        moved = (state is not None and round_.state != state) or context.view.instance != instance
        return last[0] if letters or moved or round_.state in web.OVER else None

    await context.bells.until(("mail", round_id), look, wait)
    round_, letters = last[0]
    return await _mail(context.spool, round_, _some(letters))


def _some(letters: Sequence[Letter]) -> list[Letter]:
    chosen, total = list(letters[:1]), sum(letter.length for letter in letters[:1])
    for letter in letters[1:]:
        total += letter.length
        if total > AT_ONCE:
            break
        chosen.append(letter)
    return chosen


async def _mail(spool: Spool, round_: Round, letters: list[Letter]) -> Response:
    """A web.Mail, written head by head: a release is not held in memory for every node that reads it."""
    shelf = shelves.letters(round_.id)
    if any(not spool.path(shelf, letter.digest).exists() for letter in letters):
        # Letters of rounds long over were removed; their state still says how they ended.
        letters = []
    empty = web.Mail(round_.id, round_.state, ()).to_bytes()
    start = empty[:-1] + _head(4, len(letters))
    heads = [_head(4, 2) + _head(0, letter.sequence) + _head(2, letter.length) for letter in letters]
    length = len(start) + sum(map(len, heads)) + sum(letter.length for letter in letters)

    async def parts() -> AsyncIterator[bytes]:
        yield start
        for head, letter in zip(heads, letters, strict=True):
            yield head
            async for piece in spool.pieces(shelf, letter.digest):
                yield piece

    if length <= SMALL:
        # In one piece: a head that travels alone waits for the network's delayed acknowledgement.
        return Response(b"".join([part async for part in parts()]), media_type=web.CBOR)
    return StreamingResponse(parts(), media_type=web.CBOR, headers={"Content-Length": str(length)})


def _head(major: int, value: int) -> bytes:
    """The canonical head of a CBOR item."""
    if value < 24:
        return bytes([major << 5 | value])
    for more, size in ((24, 1), (25, 2), (26, 4)):
        if value < 1 << 8 * size:
            return bytes([major << 5 | more]) + value.to_bytes(size, "big")
    return bytes([major << 5 | 27]) + value.to_bytes(8, "big")
