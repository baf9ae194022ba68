"""A TLS server that answers with fixed bytes, whatever it is asked."""

import socket
import ssl
import threading
from collections.abc import Iterator


class RawTls:
    """A TLS server that answers every connection with fixed bytes, at once or one by one, and then stays silent."""

    def __init__(self, one, answer: bytes, *, trickle: bool = False) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(one.relay.server.certificate)
        self._answer, self._trickle, self._over = answer, trickle, threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return f"https://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._socket.close()
        self._thread.join(5)

    def _serve(self) -> None:
        self._socket.settimeout(0.1)
        while not self._over.is_set():
            try:
                plain, _ = self._socket.accept()
            except OSError:
                continue
            try:
                with self._context.wrap_socket(plain, server_side=True) as tls:
                    tls.settimeout(5)
                    tls.recv(1 << 16)
                    for piece in self._pieces():
                        tls.sendall(piece)
                    self._over.wait(1)
            except OSError:
                continue

    def _pieces(self) -> Iterator[bytes]:
        if not self._trickle:
            yield self._answer
            return
        head, _, body = self._answer.partition(b"\r\n\r\n")
        yield head + b"\r\n\r\n"
        for byte in body:
            if self._over.wait(0.02):
                return
            yield bytes([byte])
