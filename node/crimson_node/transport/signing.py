"""Every request under the node's signature (RFC 9421): a proxy that opens TLS can read it and change nothing."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver
from http_message_signatures.algorithms import ED25519

from crimson_protocol.secret.key_files import to_pem
from crimson_protocol.secret.keys import IdentityKey
from crimson_protocol.wire import web


class _OneKey(HTTPSignatureKeyResolver):
    """Gives the library the node's key; shows nothing of it."""

    def __init__(self, pem: bytes) -> None:
        self.__pem = pem

    def resolve_private_key(self, key_id: str) -> bytes:
        del key_id
        return self.__pem


class RequestSigner:
    """Signs requests with a node's identity key. `clock` gives Unix seconds."""

    def __init__(self, key: IdentityKey, clock: Callable[[], int]) -> None:
        self.key_id = web.key_id(key.public)
        self._clock = clock
        self._signer = HTTPMessageSigner(signature_algorithm=ED25519, key_resolver=_OneKey(to_pem(key)))

    def sign(self, request: httpx.Request) -> None:
        """Add Signature and Signature-Input over web.COVERED; each call draws a new nonce."""
        self._signer.sign(
            request,
            key_id=self.key_id,
            created=datetime.fromtimestamp(self._clock(), UTC),
            nonce=secrets.token_hex(16),
            label=web.SIGNATURE_LABEL,
            include_alg=False,
            covered_component_ids=web.COVERED,
            use_existing_digest=True,
        )
