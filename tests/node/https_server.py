"""An HTTPS server that checks every request's signature as the contract says, and hands it on whole."""

import hashlib
import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import HTTPMessageSignaturesException, HTTPMessageVerifier, MappingKeyResolver
from http_message_signatures.algorithms import ED25519

from crimson_protocol.policy.document import Policy
from crimson_protocol.wire import web

MISSING = object()


@dataclass(frozen=True)
class Exchange:
    """One authentic request; `node` is None for the few paths that need no signature."""

    node: int | None
    method: str
    path: str
    query: dict[str, str]
    body: bytes
    nonce: str


@dataclass(frozen=True)
class _Head:
    method: str
    url: str
    headers: dict[str, str]


class _Verifier(HTTPMessageVerifier):
    def validate_created_and_expires(self, sig_input: object, max_age: object = None) -> None:
        """The server has its own clock."""


@dataclass
class HttpsServer:
    """Serves on 127.0.0.1 with the certificate in a PEM file. `date`: seconds its Date field is off."""

    certificate: Path
    answer: Callable[[Exchange], tuple[int, str, bytes]]
    policy: Policy
    clock: Callable[[], float]
    nonces: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        resolver = MappingKeyResolver(public_keys={}, private_keys={})
        self._keys, self._nodes = resolver.public_keys, dict[str, int]()
        for place, entry in enumerate(self.policy.roster):
            self.know(entry.identity_key, place)
        self._verifier = _Verifier(signature_algorithm=ED25519, key_resolver=resolver)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        self._server = _Server(("127.0.0.1", 0), _handler(self), context)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def know(self, public: bytes, place: int) -> None:
        """Take requests under this key for those of `place`."""
        self._keys[web.key_id(public)] = Ed25519PublicKey.from_public_bytes(public)
        self._nodes[web.key_id(public)] = place

    def forget(self, public: bytes) -> None:
        """Take no more requests under this key."""
        self._keys.pop(web.key_id(public), None)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def authentic(self, head: _Head, body: bytes) -> tuple[int, str]:
        """Who signed, and the nonce. Raises a (status, code) pair as ValueError."""
        try:
            result = self._verifier.verify(head, max_age=None, require_components=web.COVERED)[0]
        except HTTPMessageSignaturesException as error:
            raise ValueError(401, "bad-signature") from error
        parameters = result.parameters
        if set(parameters) != {"created", "nonce", "keyid"} or result.label != web.SIGNATURE_LABEL:
            raise ValueError(401, "unsigned")
        if abs(parameters["created"] - self.clock()) > web.MAX_SKEW:
            raise ValueError(401, "clock-skew")
        if parameters["nonce"] in self.nonces:
            raise ValueError(401, "nonce-used")
        self.nonces.add(parameters["nonce"])
        if head.headers["content-digest"] != web.body_digest(body):
            raise ValueError(400, "digest-differs")
        return self._nodes[parameters["keyid"]], parameters["nonce"]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type, context: ssl.SSLContext) -> None:
        super().__init__(address, handler)
        self._context = context

    def finish_request(self, request, client_address):
        # The handshake happens in the connection's own thread, and a failed one is the client's business.
        request.settimeout(30)
        try:
            tls = self._context.wrap_socket(request, server_side=True)
        except (ssl.SSLError, OSError):
            return
        super().finish_request(tls, client_address)

    def handle_error(self, request, client_address):
        """A client that goes away in the middle is no error here."""


def _handler(server: HttpsServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def serve(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", "0")))
            parts = urlsplit(self.path)
            node, nonce = None, ""
            try:
                if parts.path.startswith("/v1/"):
                    url = f"https://{headers['host']}{parts.path}?{parts.query}"
                    node, nonce = server.authentic(_Head(self.command, url, headers), body)
                exchange = Exchange(node, self.command, parts.path, dict(parse_qsl(parts.query)), body, nonce)
                self.reply(*server.answer(exchange))
            except ConnectionAbortedError:
                self.close_connection = True
            except ValueError as error:
                self.problem(*error.args)
            except Exception as error:
                if not hasattr(error, "status"):
                    raise
                self.problem(error.status, error.code, error.headers)

        def problem(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
            document = {"type": "about:blank", "title": code, "status": status, "code": code}
            self.reply(status, web.PROBLEM, json.dumps(document).encode(), headers or {})

        def reply(self, status: int, media: str, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response_only(status)
            self.send_header("Date", formatdate(server.clock(), usegmt=True))
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            if media:
                self.send_header("Content-Type", media)
            for name, value in (headers or {}).items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_POST = serve

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler


def digest_of(body: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(body).hexdigest()
