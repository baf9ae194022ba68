"""A run of pieces that breaks is the host's doing: never a fault of the node whose vector it is."""

import socket

import pytest

from crimson_enclave.host.stream import Connection, LinkLost
from crimson_protocol.wire import link

BROKEN = {
    "unknown kind": (4).to_bytes(4, "big") + b"\xee" + b"four",
    "too large": (link.PIECE + 1).to_bytes(4, "big") + link.header(link.Piece, 0)[4:],
    "another frame": link.frame(link.Close("Submitting")),
}


@pytest.mark.parametrize("frame", BROKEN.values(), ids=BROKEN)
def test_a_garbled_frame_after_the_true_pieces_breaks_the_link_and_blames_no_node(frame):
    host, enclave = socket.socketpair()
    with host, enclave:
        connection = Connection(enclave, lambda record: link.MAX_CONTROL, 5.0)
        host.sendall(link.header(link.Piece, 5) + b"bytes" + frame)
        run = connection.pieces(5)
        assert next(run) == b"bytes"
        with pytest.raises(LinkLost):
            next(run)
