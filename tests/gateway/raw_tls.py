"""Requests byte by byte over a real TLS socket, for what no HTTP client would send."""

import socket
import ssl
import time
from pathlib import Path

import httpx


class RawTls:
    """One connection."""

    def __init__(self, port: int, authority: Path) -> None:
        context = ssl.create_default_context(cafile=authority)
        plain = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket = context.wrap_socket(plain, server_hostname="127.0.0.1")

    def __enter__(self) -> "RawTls":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def trickle(self, data: bytes, pause: float) -> int:
        """One byte at a time, until the other side has had enough; how many went out."""
        for sent, byte in enumerate(data):
            try:
                self.socket.sendall(bytes([byte]))
            except OSError:
                return sent
            time.sleep(pause)
        return len(data)

    def answer(self) -> bytes:
        """Everything until the answer's declared end, or the connection's."""
        data = b""
        try:
            while piece := self.socket.recv(65536):
                data += piece
                head, _, body = data.partition(b"\r\n\r\n")
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:") and len(body) >= int(line.split(b":")[1]):
                        return data
        except OSError:
            pass
        return data


def head_of(request: httpx.Request, **changes: str | None) -> bytes:
    """A signed request's head as bytes; `changes` replace header fields, None removes them."""
    fields = {name.lower(): value for name, value in request.headers.items()}
    for name, value in changes.items():
        fields.pop(name.replace("_", "-"), None)
        if value is not None:
            fields[name.replace("_", "-")] = value
    lines = [f"{request.method} {request.url.raw_path.decode()} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
