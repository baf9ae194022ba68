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


def no_spare() -> IdentityKey | None:
    """The spare key of a node that has asked for no other."""
    return None


class RequestSigner:
    """Signs requests with a node's identity key. `clock` gives Unix seconds.

    `spare` gives the key that the node asked to be listed with, if it did: the gateway knows that one alone from
    the moment at which a policy lists it.
    """

    def __init__(
        self, key: IdentityKey, clock: Callable[[], int], spare: Callable[[], IdentityKey | None] = no_spare
    ) -> None:
        self.key_id = web.key_id(key.public)
        self._clock, self._spare = clock, spare
        self._signer = HTTPMessageSigner(signature_algorithm=ED25519, key_resolver=_OneKey(to_pem(key)))

    def with_key(self, key: IdentityKey) -> "RequestSigner":
        """The same for another key."""
        return RequestSigner(key, self._clock, self._spare)

    def with_spare(self) -> "RequestSigner | None":
        """The same for the spare key; None where there is none, or where it is in use."""
        key = self._spare()
        return None if key is None or web.key_id(key.public) == self.key_id else self.with_key(key)

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
