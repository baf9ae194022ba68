"""What a gateway's refusal, or its silence, means for a command."""

import json
import ssl

import httpx

from crimson_gateway.failure import (
    BAD_INPUT,
    CONNECTION,
    FAILED,
    INTEGRITY,
    REFUSED_BY_POLICY,
    TIMED_OUT,
    ClientFault,
    Failure,
)
from crimson_gateway.problems import CATALOGUE
from crimson_protocol.wire import web

BY_CODE = {
    "fingerprint-differs": INTEGRITY,
    "digest-differs": INTEGRITY,
    "access-denied": REFUSED_BY_POLICY,
    "not-permitted": CONNECTION,
    "unknown-node": BAD_INPUT,
    "invitation-used": REFUSED_BY_POLICY,
    "key-listed": REFUSED_BY_POLICY,
    "node-listed": REFUSED_BY_POLICY,
}
"""Exit codes that a problem's HTTP status does not tell."""
BY_STATUS = {401: CONNECTION, 403: REFUSED_BY_POLICY, 429: FAILED}
HINTS = {
    "bad-signature": "the policy must list this key under operators: compare it with your --key",
    "not-permitted": "this needs an operator's key: give it with --key",
}
LONGEST = 300


def refusal(status: int, media: str, body: bytes) -> ClientFault:
    """The failure behind an answer that refuses. Words of the gateway are cut, and shown only where printable."""
    fields = _problem(body) if media == web.PROBLEM else {}
    code = fields.get("code", "")
    if code not in CATALOGUE:
        text = f"the address answered {status}, and not as a gateway does"
        return ClientFault(Failure(CONNECTION, "no-gateway", text, "check --url; a proxy may have answered"))
    exit_code = BY_CODE.get(code, BY_STATUS.get(status, FAILED if status >= 500 else BAD_INPUT))
    kind = CATALOGUE[code]
    detail = fields.get("detail", "")
    message = kind.title if detail in ("", kind.title) else f"{kind.title}: {detail}"
    return ClientFault(Failure(exit_code, code, message, HINTS.get(code, kind.hint)))


def unreached(error: httpx.HTTPError) -> ClientFault:
    """The failure behind a connection that did not come about, or broke."""
    if isinstance(error, httpx.TimeoutException):
        hint = "look whether the gateway is overloaded, then try again"
        return ClientFault(Failure(TIMED_OUT, "gateway-silent", "the gateway did not answer in time", hint))
    if certificate := _certificate_error(error):
        hint = "give the gateway's tls/ca.pem with --ca, and a name of its certificate in --url"
        text = f"the gateway's certificate is not trusted: {certificate.verify_message}"
        return ClientFault(Failure(CONNECTION, "gateway-not-trusted", text, hint))
    hint = "look whether the gateway runs, and check --url"
    text = f"no connection to the gateway: {error}" if str(error) else "no connection to the gateway"
    return ClientFault(Failure(CONNECTION, "gateway-unreachable", text, hint))


def odd(what: str) -> ClientFault:
    """The failure behind an answer that no gateway gives."""
    text = f"the gateway's answer cannot be used: {what}"
    return ClientFault(Failure(CONNECTION, "no-gateway", text, "check --url; a proxy may have answered"))


def _certificate_error(error: BaseException) -> ssl.SSLCertVerificationError | None:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _problem(body: bytes) -> dict[str, str]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(document, dict):
        return {}
    texts = {name: value for name, value in document.items() if isinstance(value, str)}
    return {name: value[:LONGEST] for name, value in texts.items() if value.isprintable()}
