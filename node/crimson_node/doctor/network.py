"""The way to the gateway: proxy, certificate and who issued it, the answer, and the two clocks."""

import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crimson_node.doctor.finding import Finding
from crimson_node.outcome import CommandFailed
from crimson_node.settings import NodeSettings
from crimson_node.transport.client import Answer
from crimson_node.transport.errors import CertificateRejected, Transient
from crimson_node.transport.failures import clock_difference
from crimson_node.transport.gateway import Gateway, connect
from crimson_node.transport.trust import choose_proxy
from crimson_protocol.secret.keys import IdentityKey
from crimson_protocol.wire.web import MAX_SKEW

WARN_SKEW = 30
"""Seconds of difference that are worth a word; beyond MAX_SKEW every request is refused."""


class _Impatient:
    """One try for each question: a person is waiting."""

    def pause(self, error: Transient, tries: int, seconds: float) -> None:
        del tries, seconds
        raise error


@dataclass(frozen=True)
class _Answered:
    values: dict[str, Any]
    answer: Answer


def examine_network(settings: NodeSettings) -> list[Finding]:
    """Findings proxy, tls, gateway and clock. Nothing is signed: a throw-away key stands in."""
    findings = [_proxy(settings)]
    try:
        gateway = _connect(settings)
    except CommandFailed as error:
        return [*findings, Finding("tls", "fail", error.message, error.hint), *_skipped("gateway", "clock")]
    try:
        return [*findings, *_answers(settings, _Answered(*gateway.version()))]
    except CommandFailed as error:
        name = "tls" if isinstance(error, CertificateRejected) else "gateway"
        others = _skipped(*({"tls", "gateway", "clock"} - {name}))
        return [*findings, Finding(name, "fail", error.message, error.hint), *others]
    finally:
        gateway.close()


def _answers(settings: NodeSettings, answered: _Answered) -> list[Finding]:
    """What one answer shows, while its connection is open."""
    return [_tls(settings, answered), _version(answered), _clock(answered)]


def _proxy(settings: NodeSettings) -> Finding:
    route = choose_proxy(settings.gateway, settings.proxy)
    if route is None:
        return Finding("proxy", "ok", "none: the gateway is reached directly")
    return Finding("proxy", "ok", f"{route.shown}, from {route.origin}")


def _tls(settings: NodeSettings, answered: _Answered) -> Finding:
    stream: Any = answered.answer.extensions.get("network_stream")
    tls: Any = stream.get_extra_info("ssl_object") if stream is not None else None
    if tls is None:
        return Finding("tls", "warn", "the connection's certificate cannot be shown", "")
    certificate: Any = tls.getpeercert() or {}
    issuer = ", ".join(value for part in certificate.get("issuer", ()) for _, value in part)
    found = f"{tls.version()}, issued by {issuer or 'nobody named'}, until {certificate.get('notAfter', '?')}"
    if settings.ca_file is not None and not _pinned(settings, settings.ca_file):
        hint = (
            "fine where the hospital inspects TLS: what passes is masked or sealed, and every request signed"
        )
        return Finding("tls", "warn", f"{found}, which is not the authority in ca_file", hint)
    return Finding("tls", "ok", found)


def _pinned(settings: NodeSettings, authority: Path) -> bool:
    """Whether the certificate is of the gateway's own authority, trusting no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=str(authority))
    gateway = _connect(settings, context)
    try:
        gateway.version()
    except CertificateRejected:
        return False
    finally:
        gateway.close()
    return True


def _connect(settings: NodeSettings, context: ssl.SSLContext | None = None) -> Gateway:
    nobody = IdentityKey(bytes(32))
    return connect(settings, nobody, _Impatient(), lambda: int(time.time()), context=context)


def _version(answered: _Answered) -> Finding:
    version = str(answered.values.get("version", "unknown"))[:64]
    return Finding("gateway", "ok", f"answers, version {version if version.isprintable() else 'unreadable'}")


def _clock(answered: _Answered) -> Finding:
    date = answered.answer.headers.get("date")
    skew = clock_difference(date, int(time.time()))
    if skew is None:
        return Finding("clock", "warn", "the gateway does not say what time it is", "")
    side = "ahead of" if skew > 0 else "behind"
    found = f"{abs(skew)} seconds {side} the gateway" if skew else "agrees with the gateway"
    if abs(skew) > MAX_SKEW:
        return Finding("clock", "fail", found, "set the clock: timedatectl set-ntp true")
    if abs(skew) > WARN_SKEW:
        return Finding("clock", "warn", found, "turn on time synchronisation: timedatectl set-ntp true")
    return Finding("clock", "ok", found)


def _skipped(*names: str) -> list[Finding]:
    return [Finding(name, "skip", "not reached") for name in sorted(names)]
