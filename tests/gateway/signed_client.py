"""A small client that signs every request, and can be told to sign it wrongly."""

import hashlib
import secrets
import ssl
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import httpx
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver
from http_message_signatures.algorithms import ED25519

from crimson_protocol.wire import web


class OneKey(HTTPSignatureKeyResolver):
    """Gives the library one private key."""

    def __init__(self, pem: bytes) -> None:
        self._pem = pem

    def resolve_private_key(self, key_id: str) -> bytes:
        return self._pem


class SignedClient:
    """Signs with one key. `skew` shifts its clock."""

    def __init__(self, url: str, authority: Path, pem: bytes, public: bytes, skew: int = 0) -> None:
        self.url, self.skew, self.key_id = url, skew, web.key_id(public)
        self._signer = HTTPMessageSigner(signature_algorithm=ED25519, key_resolver=OneKey(pem))
        trusted = ssl.create_default_context(cafile=authority)
        self.http = httpx.Client(base_url=url, verify=trusted, timeout=60, trust_env=False)

    def close(self) -> None:
        self.http.close()

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
        content: Iterator[bytes] | None = None,
        covered: tuple[str, ...] = web.COVERED,
        nonce: str | None = None,
        label: str = web.SIGNATURE_LABEL,
        created: int | None = None,
    ) -> httpx.Request:
        """A signed request, not sent yet: a test may alter it."""
        digest = hashlib.sha256(body).digest()
        sent = {
            "Content-Length": str(len(body)),
            "Content-Digest": f"sha-256=:{b64encode(digest).decode()}:",
            **(headers or {}),
        }
        params = {name: str(value) for name, value in (query or {}).items()} or None
        request = self.http.build_request(
            method, path, params=params, headers=sent, content=body if content is None else content
        )
        if content is not None:
            request.headers.pop("Transfer-Encoding", None)
        self._signer.sign(
            request,
            key_id=self.key_id,
            created=datetime.fromtimestamp(created or int(time.time()) + self.skew, UTC),
            nonce=nonce or secrets.token_hex(16),
            label=label,
            include_alg=False,
            covered_component_ids=covered,
            use_existing_digest=True,
        )
        return request

    def send(self, request: httpx.Request) -> httpx.Response:
        return self.http.send(request)

    def ask(self, method: str, path: str, body: bytes = b"", **options: object) -> httpx.Response:
        """Sign and send."""
        return self.send(self.request(method, path, body, **options))
