"""From the library's exceptions and the gateway's refusals to errors that say what happened and what to do."""

import json
import re
import ssl
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx

from crimson_node.transport.backoff import retry_after
from crimson_node.transport.errors import (
    AuthenticationFailed,
    BadAnswer,
    Busy,
    CertificateRejected,
    ClockSkew,
    Problem,
    ProxyRefused,
    ProxyUnreachable,
    TimedOut,
    TransportFailed,
    Unreachable,
)
from crimson_node.transport.trust import ProxyRoute
from crimson_protocol.wire.web import MAX_SKEW

NOT_YET_VALID, EXPIRED, WRONG_HOST, WRONG_ADDRESS = 9, 10, 62, 64
"""OpenSSL's verification codes."""
_CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_LONGEST_TEXT = 300
Cause = TypeVar("Cause", bound=BaseException)


def connection_failure(error: httpx.HTTPError, host: str, proxy: ProxyRoute | None) -> TransportFailed:
    """What a failed try means."""
    certificate = _cause(error, ssl.SSLCertVerificationError)
    if certificate is not None:
        return certificate_failure(certificate, host)
    match error:
        case httpx.ProxyError():
            return _proxy_failure(error, proxy)
        case httpx.ConnectTimeout() | httpx.PoolTimeout():
            hint = "check the network, and whether a proxy is needed: HTTPS_PROXY, or proxy in node.json"
            return TimedOut(f"no connection to {_where(host, proxy)} in time", hint)
        case httpx.TimeoutException():
            return TimedOut(
                f"{host} did not answer in time", "the gateway may be overloaded; this is retried"
            )
        case httpx.ConnectError():
            return _connect_failure(error, host, proxy)
        case httpx.RemoteProtocolError() if "without sending" not in str(error):
            return Unreachable(f"the answer of {host} broke off or is not HTTP", "this is retried")
        case _:
            return Unreachable(f"the connection to {_where(host, proxy)} broke", "this is retried")


def certificate_failure(error: ssl.SSLCertVerificationError, host: str) -> CertificateRejected:
    """Why the certificate of whoever answered does not count."""
    match error.verify_code:
        case code if code == EXPIRED:
            text, code_name = f"the certificate of {host} has expired", "certificate-expired"
            hint = "check this machine's clock; else the gateway's operator must renew it"
        case code if code == NOT_YET_VALID:
            text, code_name = f"the certificate of {host} is not valid yet", "certificate-not-yet-valid"
            hint = "check this machine's clock"
        case code if code in (WRONG_HOST, WRONG_ADDRESS):
            text, code_name = f"the certificate is not for {host}", "certificate-wrong-host"
            hint = "check gateway in node.json: it must be the name in the certificate"
        case _:
            text = f"the certificate of {host} is of an authority that is not trusted here"
            code_name = "certificate-foreign"
            hint = (
                "check ca_file in node.json; if the hospital's proxy opens TLS, name its authority in "
                "inspection_ca_file, or with --inspection-ca when joining"
            )
    return CertificateRejected(text, hint, code_name)


def busy(status: int, after: str | None, now: float) -> Busy:
    """A gateway that cannot serve now."""
    error = Busy(f"the gateway answered {status}", "this is retried; its operator sees why")
    error.after = retry_after(after, now)
    return error


def refusal(response: httpx.Response, problem: bytes, now: int) -> TransportFailed:
    """A 4xx or 5xx answer as an error. Text from the gateway is cut and printable."""
    fields = _fields(problem)
    status, code = response.status_code, fields.get("code", "")
    if not _CODE.fullmatch(code):
        code = f"http-{status}"
    detail = fields.get("detail") or fields.get("title") or f"the gateway answered {status}"
    hint = fields.get("hint") or "see docs/errors.md"
    skew = clock_difference(response.headers.get("date"), now)
    if code == "clock-skew" or (status == 401 and skew is not None and abs(skew) > MAX_SKEW):
        return _skewed(skew)
    if code == "nonce-used":
        # A proxy on the way sent the request twice: the next try has a nonce of its own.
        return Busy(
            "the gateway had this very request before", "this is retried; a proxy may repeat requests"
        )
    if status in (401, 403):
        return AuthenticationFailed(detail, hint, code)
    if status == 407:
        return ProxyRefused("the proxy asks for a login", "put user and password into the proxy's address")
    return Problem(status, code, detail, hint)


def clock_difference(date: str | None, now: int) -> int | None:
    """Seconds that this machine's clock is ahead of a Date field; None where there is none."""
    try:
        return now - int(parsedate_to_datetime(date or "").timestamp())
    except (TypeError, ValueError):
        return None


def _skewed(skew: int | None) -> ClockSkew:
    by = f" by {abs(skew)} seconds ({'ahead' if skew > 0 else 'behind'})" if skew is not None else ""
    text = f"this machine's clock differs from the gateway's{by}"
    return ClockSkew(text, "set the clock: timedatectl set-ntp true")


def _fields(problem: bytes) -> dict[str, str]:
    try:
        values = json.loads(problem)
    except ValueError:
        return {}
    if not isinstance(values, dict):
        return {}
    return {name: text for name, value in values.items() if isinstance(value, str) if (text := _shown(value))}


def _shown(text: str) -> str:
    return "".join(letter for letter in text[:_LONGEST_TEXT] if letter.isprintable())


def _proxy_failure(error: httpx.ProxyError, proxy: ProxyRoute | None) -> TransportFailed:
    shown = proxy.shown if proxy else "the proxy"
    status = str(error)[:3]
    if status == "407":
        hint = "put user and password into the proxy's address, in HTTPS_PROXY or node.json"
        return ProxyRefused(f"{shown} asks for a login", hint, "proxy-login")
    if status.isdigit() and int(status) in (502, 503, 504):
        return Unreachable(f"{shown} cannot reach the gateway ({status})", "this is retried")
    text = f"{shown} refused the connection" + (f" ({status})" if status.isdigit() else "")
    return ProxyRefused(text, "ask the network team to allow CONNECT to the gateway's host and port")


def _connect_failure(error: httpx.ConnectError, host: str, proxy: ProxyRoute | None) -> TransportFailed:
    handshake = _cause(error, ssl.SSLError)
    if handshake is not None:
        reason = (handshake.reason or "handshake failed").lower().replace("_", " ")
        return BadAnswer(f"TLS with {host} failed: {reason}", "check gateway in node.json", "tls-failed")
    if proxy is not None:
        hint = f"check the proxy's address ({proxy.origin})"
        return ProxyUnreachable(f"no connection to the proxy {proxy.shown}", hint)
    hint = "check gateway in node.json and the network; behind a proxy set HTTPS_PROXY or proxy in node.json"
    return Unreachable(f"no connection to {host}", hint)


def _where(host: str, proxy: ProxyRoute | None) -> str:
    return f"{host} through {proxy.shown}" if proxy else host


def _cause(error: BaseException | None, kind: type[Cause]) -> Cause | None:
    while error is not None:
        if isinstance(error, kind):
            return error
        error = error.__cause__ or error.__context__
    return None
