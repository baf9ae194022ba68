"""The streaming sum: one accumulator per bucket and one scratch vector, whatever the number of nodes."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from crimson_protocol.errors import PeerFault
from crimson_protocol.layout import Layout, Words
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.packing import Into, Unpacker


class BucketSums:
    """Sums of masked vectors modulo 2^32, by bucket. The ring's modulus divides 2^32, so bits above it
    are cut only when the sum is read."""

    def __init__(self, layout: Layout, buckets: Sequence[tuple[int, ...]]) -> None:
        self._layout = layout
        self._place: Mapping[int, int] = {
            node: place for place, bucket in enumerate(buckets) for node in bucket
        }
        self._sums: dict[int, Words] = {}
        self._scratch: Words = np.empty(layout.length, np.uint32)
        self._removed: set[int] = set()
        self._unmasked: set[int] = set()

    def absorb(self, node: int, payload: Iterable[bytes], digest: bytes) -> None:
        """Add the node's vector once it arrived whole, with the digest it signed; otherwise nothing changes.

        Raises PeerFault(WRONG_LENGTH, NOT_CANONICAL, DIGEST_DIFFERS): on the node only where it signed the
        digest of these very bytes, else on the gateway, whose bytes they are.
        """
        vector = self._receive(payload, digest)
        total = self.bucket(self._place[node])
        np.add(total, vector, out=total)

    def remove(self, node: int, payload: Iterable[bytes], digest: bytes) -> None:
        """Subtract a vector that was absorbed before; the same bytes come from the spool again.

        Once: a release that the relay interrupted is begun again, and takes nothing out twice.
        """
        if node in self._removed:
            return
        vector = self._receive(payload, digest)
        total = self.bucket(self._place[node])
        np.subtract(total, vector, out=total)
        self._removed.add(node)

    def unmask(self, place: int, change: Callable[[Words], None]) -> None:
        """Take the masks out of a bucket's sum, in place and once. `change` must not ask the relay for anything."""
        if place not in self._unmasked:
            change(self.bucket(place))
            self._unmasked.add(place)

    def bucket(self, place: int) -> Words:
        """The bucket's sum, in place; zeros where nothing was absorbed."""
        if place not in self._sums:
            self._sums[place] = np.zeros(self._layout.length, np.uint32)
        return self._sums[place]

    def _receive(self, payload: Iterable[bytes], digest: bytes) -> Words:
        hasher = hashlib.sha256()
        unpacker = Unpacker(self._scratch, self._layout.numbers.ring_bits, Into.WRITE)
        try:
            for piece in payload:
                hasher.update(piece)
                unpacker.feed(piece)
            unpacker.finish()
        except PeerFault as fault:
            raise fault if hasher.digest() == digest else fault.blamed_on("gateway") from fault
        if hasher.digest() != digest:
            raise PeerFault(Refusal.DIGEST_DIFFERS, "the vector's bytes are not the signed ones", "gateway")
        return self._scratch
