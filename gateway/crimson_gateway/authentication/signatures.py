"""One signature over one request (RFC 9421), checked with the library under this service's rules."""

import re
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageVerifier,
    HTTPSignatureAlgorithm,
    HTTPSignatureKeyResolver,
)

from crimson_gateway.authentication.callers import Caller, Callers
from crimson_gateway.problems import Problem
from crimson_protocol.crypto.verify import verify_ed25519
from crimson_protocol.wire import web

DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")
NONCE = re.compile(r"[!-~]{16,64}")


@dataclass(frozen=True)
class RequestHead:
    """What a request's signature is computed over: no body."""

    method: str
    url: str
    headers: "HeaderLines"


class HeaderLines:
    """Header fields in the order of the wire, as the library reads them."""

    def __init__(self, lines: Iterable[tuple[bytes, bytes]]) -> None:
        self._lines = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in lines]

    def items(self) -> list[tuple[str, str]]:
        """Every line."""
        return self._lines

    def only(self, name: str) -> str | None:
        """The value of a field that is there exactly once; None where it is missing or repeated."""
        values = [value for other, value in self._lines if other == name]
        return values[0] if len(values) == 1 else None


class RawEd25519(HTTPSignatureAlgorithm):
    """Ed25519 over raw public keys, by the protocol's own check."""

    algorithm_id = "ed25519"

    def __init__(self, public_key: Any = None, private_key: Any = None) -> None:  # noqa: ARG002 the library's
        self._public: bytes = public_key

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raises PeerFault."""
        verify_ed25519(self._public, message, signature)


class _Resolver(HTTPSignatureKeyResolver):
    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    def resolve_public_key(self, key_id: str) -> Any:
        return (self._callers.find(key_id) or self._callers.nobody).public


class _Verifier(HTTPMessageVerifier):
    def __init__(self, callers: Callers, now: int) -> None:
        super().__init__(signature_algorithm=RawEd25519, key_resolver=_Resolver(callers))
        self._now = now

    def validate_created_and_expires(self, sig_input: Any, max_age: timedelta | None = None) -> None:  # noqa: ARG002
        """Our clock and our limits, in both directions, with the difference in the refusal."""
        created = sig_input.params.get("created")
        if type(created) is not int:
            raise Problem("unsigned", "the signature has no creation time")
        ahead = created - self._now
        if abs(ahead) > web.MAX_SKEW:
            side = "ahead of" if ahead > 0 else "behind"
            raise Problem(
                "clock-skew",
                f"the signature's time is {abs(ahead)} seconds {side} the gateway's; at most {web.MAX_SKEW}",
            )
        if "expires" in sig_input.params and sig_input.params["expires"] < self._now:
            raise Problem("clock-skew", "the signature has expired by its own word")


def verified_caller(head: RequestHead, callers: Callers, now: int) -> tuple[Caller, str]:
    """Who signed the request, and the nonce. Raises Problem(unsigned, bad-signature, clock-skew).

    An unknown key costs what a known one costs and is answered in the same way.
    """
    if head.headers.only("signature") is None or head.headers.only("signature-input") is None:
        raise Problem("unsigned", "Signature and Signature-Input are needed, once each")
    try:
        results = _Verifier(callers, now).verify(head, max_age=None, require_components=web.COVERED)
    except HTTPMessageSignaturesException as error:
        raise Problem("bad-signature") from error
    result = results[0]
    nonce = result.nonce
    if result.label != web.SIGNATURE_LABEL or nonce is None or not NONCE.fullmatch(nonce):
        raise Problem(
            "unsigned", f"label {web.SIGNATURE_LABEL!r} and a nonce of 16 to 64 characters are needed"
        )
    caller = callers.find(str(result.parameters["keyid"]))
    if caller is None:
        raise Problem("bad-signature")
    return caller, nonce


def announced_digest(headers: HeaderLines) -> bytes:
    """The SHA-256 that the request announces for its body. Raises Problem(unsigned)."""
    match = DIGEST.fullmatch(headers.only("content-digest") or "")
    if match is None:
        raise Problem("unsigned", "Content-Digest must be one sha-256 digest, for an empty body too")
    return b64decode(match[1])


def announced_length(headers: HeaderLines, cap: int) -> int:
    """The body's length, before any of it is read. Raises Problem(length-required, body-too-large)."""
    text = headers.only("content-length")
    coded = any(name == "transfer-encoding" for name, _ in headers.items())
    if text is None or coded or not (text.isascii() and text.isdigit()):
        raise Problem("length-required")
    if len(text) > 18 or int(text) > cap:
        raise Problem("body-too-large", f"at most {cap} bytes")
    return int(text)
