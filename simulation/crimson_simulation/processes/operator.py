"""The operator's side of the gateway's API: start a round, watch it, read the log. Every request is signed."""

import json
import secrets
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from crimson_node.outcome import CommandFailed
from crimson_node.transport.signing import RequestSigner
from crimson_protocol.secret.key_files import from_pem
from crimson_protocol.secret.keys import IdentityKey
from crimson_protocol.wire import link, web

LEAVES_CAP = 1 << 20
WAIT = 20


class GatewayFailed(CommandFailed):
    """The gateway of a run refuses its operator, or does not answer."""

    code = "gateway-failed"

    def __init__(self, message: str) -> None:
        super().__init__(message, "logs/gateway.log in the run's folder says why")


class Operator:
    """Speaks for the operator whose key `crimson gateway init` made. `meanwhile` is called before a gateway that
    does not answer is asked again."""

    def __init__(
        self,
        gateway: str,
        authority: Path,
        key: Path,
        clock: Callable[[], int],
        meanwhile: Callable[[], None],
    ) -> None:
        context = ssl.create_default_context(cafile=str(authority))
        self._client = httpx.Client(base_url=gateway, verify=context, timeout=WAIT + 40, trust_env=False)
        self._meanwhile = meanwhile
        self._signer = RequestSigner(from_pem(IdentityKey, key.read_bytes()), clock)

    def start_round(self, model: str) -> dict[str, Any]:
        """A new round of `model`; its description."""
        # One key for all tries: the round is started once, whatever gets lost on the way.
        headers = {"Idempotency-Key": secrets.token_hex(16), "Content-Type": "application/json"}
        return dict(self._json("POST", "/v1/rounds", json.dumps({"model": model}).encode(), headers))

    def watch(self, round_id: int, version: int, wait: int = WAIT) -> dict[str, Any]:
        """The round once its version is above `version`, or after `wait` seconds."""
        return dict(self._json("GET", f"/v1/rounds/{round_id}?version={version}&wait={wait}"))

    def nodes(self) -> list[dict[str, Any]]:
        """When each node last spoke, and whether it endorsed the enclave."""
        return list(self._json("GET", "/v1/nodes")["nodes"])

    def evidence(self, nonce: bytes) -> bytes:
        """The enclave's evidence for a challenge."""
        return self._ask("GET", f"/v1/evidence?nonce={nonce.hex()}").content

    def release(self, model: str) -> bytes:
        """The last Release of a model."""
        return self._ask("GET", f"/v1/models/{quote(model)}/release").content

    def leaves(self) -> tuple[bytes, ...]:
        """The whole log."""
        found: list[bytes] = []
        while True:
            body = self._ask("GET", f"/v1/events?start={len(found)}").content
            part = link.Leaves.from_bytes(body, LEAVES_CAP).leaves
            if not part:
                return tuple(found)
            found += part

    def close(self) -> None:
        self._client.close()

    def _json(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Any:
        return self._ask(method, path, body, headers).json()

    def _ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """The answer; a gateway that restarts is asked again for a minute."""
        deadline = time.monotonic() + 60
        while True:
            try:
                answer = self._client.send(self._request(method, path, body, headers or {}))
                if answer.status_code not in (429, 502, 503, 504) or time.monotonic() > deadline:
                    answer.raise_for_status()
                    return answer
            except httpx.HTTPStatusError as error:
                raise GatewayFailed(f"the gateway answered {error.response.status_code} to {path}") from error
            except httpx.TransportError as error:
                if time.monotonic() > deadline:
                    raise GatewayFailed(f"the gateway does not answer: {error}") from error
            self._meanwhile()
            time.sleep(0.2)

    def _request(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> httpx.Request:
        fields = {"Content-Length": str(len(body)), "Content-Digest": web.body_digest(body), **headers}
        request = self._client.build_request(method, path, content=body, headers=fields)
        self._signer.sign(request)
        return request
