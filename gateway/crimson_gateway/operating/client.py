"""Signed questions to a gateway, each under an operator's key (RFC 9421), answers bounded before they are read."""

import json
import secrets
import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Self
from urllib.parse import quote

import httpx
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver
from http_message_signatures.algorithms import ED25519

from crimson_gateway.failure import ClientFault
from crimson_gateway.operating.answers import odd, refusal, unreached
from crimson_gateway.operating.connection import Connection
from crimson_gateway.operator_keys import OperatorKey, read_operator_key
from crimson_protocol.enrolment import MAX_REQUEST
from crimson_protocol.policy.bundle import MAX_BUNDLE
from crimson_protocol.wire import web

JSON = "application/json"
MAX_JSON = 8 << 20
CONNECT_SECONDS, QUIET_SECONDS = 10.0, 30.0
WAIT = 20
"""Seconds that a question about a round may wait for news."""
BUSY = (429, 502, 503, 504)


class _OneKey(HTTPSignatureKeyResolver):
    """Gives the library the operator's key; shows nothing of it."""

    def __init__(self, pem: bytes) -> None:
        self.__pem = pem

    def resolve_private_key(self, key_id: str) -> bytes:
        del key_id
        return self.__pem


class GatewayClient:
    """Speaks to one gateway for one operator. Every method raises ClientFault where it gets no answer to use."""

    def __init__(self, connection: Connection) -> None:
        self._key: OperatorKey = read_operator_key(connection.key)
        self._signer = HTTPMessageSigner(signature_algorithm=ED25519, key_resolver=_OneKey(self._key.pem))
        trusted = ssl.create_default_context(cafile=connection.authority and str(connection.authority))
        timeout = httpx.Timeout(QUIET_SECONDS, connect=CONNECT_SECONDS, read=QUIET_SECONDS + WAIT)
        self._http = httpx.Client(base_url=connection.url, verify=trusted, timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    @property
    def public_key(self) -> bytes:
        """The operator's public key."""
        return self._key.public

    def policy(self) -> bytes:
        """The policy bundle that the gateway serves, unverified."""
        return self._ask("GET", "/v1/policy", media=web.CBOR, cap=MAX_BUNDLE)

    def invite(self, body: bytes) -> dict[str, Any]:
        """Issue an invitation."""
        return self._json("POST", "/v1/invitations", body)

    def invitations(self) -> list[dict[str, Any]]:
        """The newest invitations."""
        return list(self._json("GET", "/v1/invitations")["invitations"])

    def revoke_invitation(self, digest: str) -> None:
        """Take an invitation back."""
        self._ask("DELETE", f"/v1/invitations/{quote(digest, safe='')}")

    def carry(self, request: bytes) -> bytes:
        """Hand in the request of a site that does not connect itself; its EnrolmentState, unparsed."""
        return self._ask("POST", "/v1/enrolments", request, media=web.CBOR, cap=MAX_REQUEST)

    def request_of(self, node: str) -> bytes:
        """The node's request as it signed it, unverified."""
        return self._ask("GET", f"/v1/enrolments/{_path(node)}/request", media=web.CBOR, cap=MAX_REQUEST)

    def approve(self, node: str, fingerprint: str) -> dict[str, Any]:
        """Approve a request whose fingerprint was compared."""
        return self._json("POST", f"/v1/enrolments/{_path(node)}/approval", {"fingerprint": fingerprint})

    def enrolments(self) -> list[dict[str, Any]]:
        """The newest requests."""
        return list(self._json("GET", "/v1/enrolments")["enrolments"])

    def nodes(self) -> list[dict[str, Any]]:
        """Every node of the roster."""
        return list(self._json("GET", "/v1/nodes")["nodes"])

    def suspend(self, node: str, reason: str) -> None:
        """Hold a node back."""
        self._ask("POST", f"/v1/nodes/{_path(node)}/suspension", _dumped({"reason": reason}))

    def resume(self, node: str) -> None:
        """Let a suspended node take part again."""
        self._ask("DELETE", f"/v1/nodes/{_path(node)}/suspension")

    def revoke(self, node: str, reason: str) -> None:
        """Refuse a node's keys for good."""
        self._ask("POST", f"/v1/nodes/{_path(node)}/revocation", _dumped({"reason": reason}))

    def order_round(self, body: bytes) -> dict[str, Any]:
        """Start a round. One key for all tries: it is started once, whatever gets lost on the way."""
        return self._json("POST", "/v1/rounds", body, {"Idempotency-Key": secrets.token_hex(16)})

    def rounds(self, limit: int) -> list[dict[str, Any]]:
        """The newest rounds."""
        return list(self._json("GET", f"/v1/rounds?limit={limit}")["rounds"])

    def round(self, round_id: int, version: int = 0, wait: int = 0) -> dict[str, Any]:
        """A round, once its version is above `version` or `wait` seconds are over."""
        return self._json("GET", f"/v1/rounds/{round_id}?version={version}&wait={wait}")

    def _json(
        self, method: str, path: str, body: object = b"", headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        raw = body if isinstance(body, bytes) else _dumped(body)
        answer = self._ask(method, path, raw, media=JSON, cap=MAX_JSON, headers=headers)
        try:
            document = json.loads(answer)
        except ValueError as error:
            raise odd("it is not JSON") from error
        if not isinstance(document, dict):
            raise odd("it is no JSON object")
        return document

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        media: str | None = None,
        cap: int = 1 << 14,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """The answer's body. A gateway that is busy is asked a few times more, each under a new signature."""
        for pause in (0.5, 1.0, 2.0, None):
            status, given, answer = self._once(self._request(method, path, body, headers or {}), cap)
            if status not in BUSY or pause is None:
                break
            time.sleep(pause)
        if status >= 300:
            raise refusal(status, given, answer)
        if media is not None and given != media:
            raise odd(f"it is not {media}")
        return answer

    def _once(self, request: httpx.Request, cap: int) -> tuple[int, str, bytes]:
        try:
            response = self._http.send(request, stream=True)
            try:
                given = response.headers.get("content-type", "").split(";")[0].strip().lower()
                body = bytearray()
                for chunk in response.iter_raw():
                    body += chunk
                    if len(body) > cap:
                        raise odd(f"it has more than {cap} bytes")
                return response.status_code, given, bytes(body)
            finally:
                response.close()
        except httpx.HTTPError as error:
            raise unreached(error) from error

    def _request(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> httpx.Request:
        fields = {
            "User-Agent": "crimson-operator",
            "Accept-Encoding": "identity",
            "Content-Length": str(len(body)),
            "Content-Digest": web.body_digest(body),
            **headers,
        }
        request = self._http.build_request(method, path, content=body, headers=fields)
        self._signer.sign(
            request,
            key_id=web.key_id(self._key.public),
            created=datetime.now(UTC),
            nonce=secrets.token_hex(16),
            label=web.SIGNATURE_LABEL,
            include_alg=False,
            covered_component_ids=web.COVERED,
            use_existing_digest=True,
        )
        return request


def is_lasting(fault: ClientFault) -> bool:
    """Whether asking again later cannot help."""
    return fault.failure.code not in ("gateway-unreachable", "gateway-silent", "enclave-unavailable")


def _path(node: str) -> str:
    return quote(node, safe="")


def _dumped(document: object) -> bytes:
    return json.dumps(document).encode()
