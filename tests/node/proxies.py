"""Hospital proxies for tests: one that tunnels, and one that opens TLS with an authority of its own."""

import select
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from types import TracebackType

from tests.node.certificates import Authority

BUFFER = 1 << 16


def readable(sides: Iterable[socket.socket]) -> list[socket.socket]:
    """Those of two sides that have something to read, after half a minute at most."""
    watch = select.poll()
    by_number = {side.fileno(): side for side in sides}
    for number in by_number:
        watch.register(number, select.POLLIN)
    return [by_number[number] for number, _ in watch.poll(30_000)]


class ConnectProxy:
    """Tunnels CONNECT. `login` ("user:password") is asked for if given; `refuse`: a status for everybody."""

    def __init__(self, *, login: str | None = None, refuse: int | None = None) -> None:
        self.login, self.refuse = login, refuse
        self.tunnels: list[str] = []
        self.seen = bytearray()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "ConnectProxy":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def status(self, head: str) -> int:
        """What a CONNECT is answered."""
        if self.refuse:
            return self.refuse
        if self.login and f"Basic {b64encode(self.login.encode()).decode()}" not in head:
            return 407
        return 200

    def relay(self, client: socket.socket, server: socket.socket) -> None:
        """Carry bytes both ways until one side ends, noting what passes. One thread: TLS sockets need that."""
        other = {client: server, server: client}
        with suppress(OSError):
            while True:
                waiting = [side for side in other if isinstance(side, ssl.SSLSocket) and side.pending()]
                for side in waiting or readable(other):
                    data = side.recv(BUFFER)
                    if not data:
                        return
                    self.seen += data
                    other[side].sendall(data)


class InspectingProxy(ConnectProxy):
    """Answers TLS itself, with certificates of its own authority, and reads everything."""

    def __init__(self, authority: Authority, gateways: Authority, folder: Path) -> None:
        super().__init__()
        self._inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._inside.load_cert_chain(authority.issue(folder))
        self._outside = ssl.create_default_context(cadata=gateways.pem().decode())

    def relay(self, client: socket.socket, server: socket.socket) -> None:
        try:
            opened = self._inside.wrap_socket(client, server_side=True)
            onward = self._outside.wrap_socket(server, server_hostname="127.0.0.1")
        except (OSError, ssl.SSLError):
            return
        with opened, onward:
            super().relay(opened, onward)


class _Server(ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no error here."""


def _handler(proxy: ConnectProxy) -> type[BaseRequestHandler]:
    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                piece = self.request.recv(1)
                if not piece:
                    return
                head += piece
            text = head.decode()
            status = proxy.status(text)
            extra = "Proxy-Authenticate: Basic\r\n" if status == 407 else ""
            target = text.split()[1]
            if status != 200:
                self.request.sendall(f"HTTP/1.1 {status} No\r\n{extra}Content-Length: 0\r\n\r\n".encode())
                return
            proxy.tunnels.append(target)
            host, port = target.rsplit(":", 1)
            with socket.create_connection((host, int(port)), 10) as server:
                server.settimeout(30)
                self.request.settimeout(30)
                self.request.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                proxy.relay(self.request, server)

    return Handler
