"""The floor of a relay: bare sockets and a thread each, SHA-256, and files as durable as the gateway's.

`python -m benchmarks.bare_relay FOLDER` answers the same requests as the gateway, and checks nothing in them
but the body's digest.
"""

import hashlib
import json
import os
import re
import secrets
import socket
import sys
import threading
from pathlib import Path

PIECE = 1 << 18
HEAD = re.compile(
    rb"PUT \S*/([0-9a-f]{64}) .*?content-length: (\d+)\r\n.*?\r\n\r\n", re.DOTALL | re.IGNORECASE
)
CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"


def main(folder: Path) -> None:
    """Serve until killed."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(json.dumps({"ready": True, "url": f"http://127.0.0.1:{listener.getsockname()[1]}"}), flush=True)
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=serve, args=(peer, folder), daemon=True).start()


def serve(peer: socket.socket, folder: Path) -> None:
    """One request after the other, until the peer closes."""
    buffer = memoryview(bytearray(PIECE))
    with peer:
        while head := _head(peer):
            digest, length, begun = head
            _receive(peer, buffer, folder / digest, length, begun)
            peer.sendall(CREATED)


def _head(peer: socket.socket) -> tuple[str, int, bytes] | None:
    """Digest in the path, the body's length, and what of the body came with the head."""
    data = b""
    while not (match := HEAD.match(data)):
        piece = peer.recv(PIECE)
        if not piece:
            return None
        data += piece
    return match[1].decode(), int(match[2]), data[match.end() :]


def _receive(peer: socket.socket, buffer: memoryview, path: Path, length: int, begun: bytes) -> None:
    temporary, found = path.with_name(secrets.token_hex(16)), hashlib.sha256(begun)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, begun)
        left = length - len(begun)
        while left:
            received = peer.recv_into(buffer, min(left, PIECE))
            if not received:
                raise EOFError("the peer closed in mid-body")
            found.update(buffer[:received])
            os.write(descriptor, buffer[:received])
            left -= received
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if found.hexdigest() != path.name:
        raise ValueError("the body has another digest than its name")
    temporary.replace(path)
    names = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(names)
    finally:
        os.close(names)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
