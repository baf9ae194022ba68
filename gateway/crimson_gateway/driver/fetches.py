"""What the enclave asks for again: stored vectors, and single boxes out of stored Share messages."""

from collections import OrderedDict
from collections.abc import AsyncIterator

from crimson_gateway import shelves
from crimson_gateway.context import Context
from crimson_gateway.store.tables import Round, Upload
from crimson_gateway.store.uploads import accepted_upload
from crimson_protocol.errors import PeerFault
from crimson_protocol.wire import link
from crimson_protocol.wire.envelope import OVERHEAD, Envelope
from crimson_protocol.wire.messages.share import Share
from crimson_protocol.wire.messages.submit import Submit
from crimson_protocol.wire.table import BY_RECORD

PARSED = 64
"""Share messages kept parsed: one is asked for once per lost neighbour."""


class Fetches:
    """Serves the running attempt. Bytes are checked by the enclave; what is not there is given as nothing."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._attempt: tuple[int, int] = (0, 0)
        self._boxes: OrderedDict[int, dict[int, bytes]] = OrderedDict()

    def serve_attempt(self, round_: Round) -> None:
        """The attempt whose uploads are meant from now on."""
        if self._attempt != (round_.id, round_.attempt):
            self._attempt = (round_.id, round_.attempt)
            self._boxes.clear()

    async def fetched(self, fetch: link.Fetch) -> AsyncIterator[bytes]:
        """The bytes, in pieces."""
        if fetch.what == "pair-box":
            boxes = await self._boxes_of(fetch.node)
            yield boxes.get(-1 if fetch.recipient is None else fetch.recipient, b"")
            return
        upload = await self._upload(fetch.node, BY_RECORD[Submit].kind)
        if upload is not None and upload.payload is not None:
            shelf = shelves.uploads(*self._attempt)
            try:
                async for piece in self._context.spool.pieces(shelf, upload.payload):
                    yield piece
            except FileNotFoundError:
                self._context.log.error("a spooled vector is missing", round=self._attempt[0])

    async def _boxes_of(self, dealer: int) -> dict[int, bytes]:
        if dealer not in self._boxes:
            self._boxes[dealer] = await self._parse_boxes(dealer)
            while len(self._boxes) > PARSED:
                self._boxes.popitem(last=False)
        self._boxes.move_to_end(dealer)
        return self._boxes[dealer]

    async def _parse_boxes(self, dealer: int) -> dict[int, bytes]:
        upload = await self._upload(dealer, BY_RECORD[Share].kind)
        if upload is None:
            return {}
        cap = BY_RECORD[Share].cap(len(self._context.policy.roster)) + OVERHEAD
        try:
            control = await self._context.spool.read(shelves.uploads(*self._attempt), upload.digest)
            share = Share.from_bytes(Envelope.from_bytes(control, cap).body, cap)
        except (FileNotFoundError, PeerFault):
            self._context.log.error("a spooled share is missing or unreadable", round=self._attempt[0])
            return {}
        return {row.recipient: row.pair_box for row in share.rows if row.pair_box is not None}

    async def _upload(self, node: int, kind: int) -> Upload | None:
        async with self._context.database.reading() as session:
            return accepted_upload(session, *self._attempt, node, kind)
