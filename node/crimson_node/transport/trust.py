"""Whom the node believes to be the gateway, and which proxy it goes through."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import truststore

from crimson_node.outcome import BadConfiguration


def tls_context(authorities: Sequence[Path]) -> ssl.SSLContext:
    """TLS 1.3, or 1.2 where a hospital's proxy knows no better; the system's authorities and the given ones.

    Raises BadConfiguration for a file that holds no certificate.
    """
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in authorities:
        try:
            context.load_verify_locations(cafile=str(path))
        except (OSError, ssl.SSLError) as error:
            hint = "give a PEM file with the certificate authority, or null"
            raise BadConfiguration(f"{path} cannot be read as certificates", hint, "bad-authority") from error
    return context


@dataclass(frozen=True)
class ProxyRoute:
    """A proxy, and where the choice came from. `url` may hold a password: only `shown` is for people."""

    url: str = field(repr=False)
    origin: str

    @property
    def shown(self) -> str:
        """The address without user and password."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}:{parts.port or 80}"


def choose_proxy(gateway: str, configured: str | None) -> ProxyRoute | None:
    """The proxy to use: the configured one, else HTTPS_PROXY or ALL_PROXY unless NO_PROXY names the gateway.

    Raises BadConfiguration for an address that is no HTTP proxy's.
    """
    if configured is not None:
        return _checked(ProxyRoute(configured, "node.json"))
    proxies = getproxies()
    host = urlsplit(gateway).netloc
    if proxy_bypass(host):
        return None
    for scheme in ("https", "all"):
        if proxies.get(scheme):
            url = proxies[scheme]
            return _checked(ProxyRoute(url if "://" in url else f"http://{url}", f"{scheme.upper()}_PROXY"))
    return None


def _checked(route: ProxyRoute) -> ProxyRoute:
    """The route, where it can be used. The address is not repeated: it may hold a password."""
    hint = "give http://HOST:PORT; SOCKS proxies are not supported"
    try:
        parts = urlsplit(route.url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 80) > 0
    except ValueError:
        usable = False
    if not usable:
        raise BadConfiguration(f"the proxy of {route.origin} is no address of an HTTP proxy", hint)
    return route
