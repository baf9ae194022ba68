"""The relay's spool as the enclave sees it: bytes asked for over the link, while it is working."""

from collections.abc import Iterable

from crimson_enclave.host.stream import Connection, LinkLost
from crimson_protocol.wire import link

MAX_BOX = 1 << 13


class LinkSpool:
    """Asks the host that put the question. Whatever it hands out is checked by digest by whoever asked."""

    def __init__(self, largest_vector: int) -> None:
        self._largest = largest_vector
        self.connection: Connection | None = None

    def vector(self, node: int) -> Iterable[bytes]:
        """The packed vector that the node submitted. Raises LinkLost."""
        return self._fetch(link.Fetch("vector", node, None), self._largest)

    def pair_box(self, dealer: int, recipient: int) -> bytes:
        """The pair box from the dealer's Share for one recipient. Raises LinkLost."""
        return b"".join(self._fetch(link.Fetch("pair-box", dealer, recipient), MAX_BOX))

    def _fetch(self, question: link.Fetch, most: int) -> Iterable[bytes]:
        if self.connection is None:
            raise LinkLost("no host is connected")
        self.connection.send(question)
        return self.connection.pieces(most)
