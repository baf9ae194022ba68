"""The HTTPS server: granian in this process's own event loop, on a socket that we bind ourselves.

Our own socket tells a port that is taken from one that is free: granian binds so that two servers can share
a port, which would split the requests between two gateways.
"""

import errno
import resource
import socket
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server
from starlette.types import ASGIApp

from crimson_gateway.settings import GatewaySettings
from crimson_gateway.tls import TlsFiles

BACKLOG = 1024
OWN_FILES, FEWEST = 256, 128
"""Open files for everything but connections, and the fewest connections that are worth serving."""
LARGEST_HEAD = 1 << 19
"""Bytes that a request's head may have; also what is read from a connection at once."""


class TooFewFiles(Exception):
    """The limit of open files leaves no room for connections."""


class PortTaken(Exception):
    """Another process listens there already."""


def most_connections() -> int:
    """Connections to serve at once, below the limit of open files, which is raised as far as this user may.

    A server that runs out of descriptors cannot even refuse. Raises TooFewFiles.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = BACKLOG + OWN_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = BACKLOG if soft == resource.RLIM_INFINITY else min(BACKLOG, soft - OWN_FILES)
    if room < FEWEST:
        raise TooFewFiles(f"the limit of open files is {soft}, and {OWN_FILES + FEWEST} are needed")
    return room


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises PortTaken, and OSError for an unusable address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"{host}:{port} is in use") from error
        raise
    listener.setblocking(False)
    return listener


class HttpsServer(Server):
    """HTTP/1.1 over TLS 1.3 on a socket that is bound already."""

    def __init__(
        self, app: ASGIApp, listener: socket.socket, tls: TlsFiles, settings: GatewaySettings
    ) -> None:
        self._listener = listener
        host, port = listener.getsockname()[:2]
        super().__init__(
            app,
            address=host,
            port=port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(
                header_read_timeout=int(1000 * settings.header_seconds), max_buffer_size=LARGEST_HEAD
            ),
            websockets=False,
            backlog=BACKLOG,
            backpressure=most_connections(),
            log_enabled=False,
            ssl_cert=tls.certificate,
            ssl_key=tls.key,
        )

    def _init_shared_socket(self) -> None:
        # From here on the descriptor is granian's, which closes it.
        self._shd: Any = SocketHolder(self._listener.detach(), False, BACKLOG)  # type: ignore[call-arg]
        self._sfd = self._shd.get_fd()
        self._ssp = None
