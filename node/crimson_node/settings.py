"""`node.json`: where the gateway is, which data this site uses, and how the network is reached."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from crimson_node.outcome import BadConfiguration
from crimson_protocol.wire.web import MAX_WAIT

FILE = "node.json"
MAX_FILE = 1 << 16


@dataclass(frozen=True)
class NodeSettings:
    """Checked settings. Paths are absolute; `proxy` may hold a password, so it is never shown.

    data: None until the site has chosen a file. federation: its name, which requests to the governors carry.
    ca_file: certificate authority of the gateway. inspection_ca_file: authority of a hospital proxy that
    opens TLS. Both count beside the system's own. poll_seconds: longest wait for news.
    """

    gateway: str
    node: str
    data: Path | None = None
    federation: str | None = None
    ca_file: Path | None = None
    inspection_ca_file: Path | None = None
    proxy: str | None = field(default=None, repr=False)
    poll_seconds: int = MAX_WAIT

    @property
    def authorities(self) -> tuple[Path, ...]:
        """Certificate files to trust beside the system's."""
        return tuple(path for path in (self.ca_file, self.inspection_ca_file) if path is not None)

    @property
    def training_file(self) -> Path:
        """The file to train on. Raises BadConfiguration where none was chosen yet."""
        if self.data is None:
            raise BadConfiguration(f"{FILE} names no file to train on", f"add {_EXAMPLES['data']}")
        return self.data

    @property
    def federation_name(self) -> str:
        """The federation's name. Raises BadConfiguration where the home does not hold it."""
        if self.federation is None:
            raise BadConfiguration(f"{FILE} does not name the federation", f"add {_EXAMPLES['federation']}")
        return self.federation

    def rendered(self, home: Path) -> bytes:
        """The text of `node.json` that reads as these settings; paths inside `home` are relative to it."""
        values = {name: _plain(value, home) for name, value in vars(self).items()}
        return (json.dumps(values, indent=2) + "\n").encode()


def read_settings(home: Path) -> NodeSettings:
    """The settings in a node's home. Raises BadConfiguration with the place and what to write."""
    path = home / FILE
    values = _object(path)
    for name in values:
        if name not in _READERS:
            near = get_close_matches(name, _READERS, n=1, cutoff=0.0)[0]
            raise BadConfiguration(f"unknown setting {name!r} in {path}", f"did you mean {near!r}?")
    missing = sorted({"gateway", "node"} - set(values))
    if missing:
        raise BadConfiguration(f"{path} lacks {missing[0]!r}", f"add {_EXAMPLES[missing[0]]}")
    return NodeSettings(**{name: _read(name, value, home, path) for name, value in values.items()})


def address(gateway: str) -> str:
    """A gateway's address in the one form that is used. Raises ValueError for anything but https and a host."""
    return _gateway(gateway, Path())


def _plain(value: Any, home: Path) -> Any:
    if not isinstance(value, Path):
        return value
    return str(value.relative_to(home) if value.is_relative_to(home) else value)


def _object(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise BadConfiguration(f"{path} is not there", "give the node's home folder with --home")
    if path.stat().st_size > MAX_FILE:
        raise BadConfiguration(f"{path} is larger than {MAX_FILE} bytes", "a configuration has a few lines")
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise BadConfiguration(f"{path} is not JSON: {error}", "mend the file") from error
    if not isinstance(values, dict):
        raise BadConfiguration(f"{path} holds no object", 'write {"gateway": "https://…", …}')
    return values


def _read(name: str, value: Any, home: Path, path: Path) -> Any:
    try:
        return _READERS[name](value, home)
    except (TypeError, ValueError) as error:
        # The value is not repeated: a proxy's may hold a password.
        raise BadConfiguration(f"{name!r} in {path} cannot be used: {error}", _EXAMPLES[name]) from None


def _text(value: Any, _: Path) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("expected a text")
    return value


def _gateway(value: Any, home: Path) -> str:
    parts = urlsplit(_text(value, home))
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError("expected an https address with a host")
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username:
        raise ValueError("expected a host and at most a port, nothing else")
    port = f":{parts.port}" if parts.port is not None else ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"https://{host}{port}"


def _proxy(value: Any, home: Path) -> str | None:
    if value is None:
        return None
    parts = urlsplit(_text(value, home))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected an http address with a host")
    return str(value)


def _path(value: Any, home: Path) -> Path:
    return home / _text(value, home)


def _maybe_text(value: Any, home: Path) -> str | None:
    return None if value is None else _text(value, home)


def _maybe_path(value: Any, home: Path) -> Path | None:
    return None if value is None else _path(value, home)


def _seconds(value: Any, _: Path) -> int:
    if type(value) is not int or not 1 <= value <= MAX_WAIT:
        raise ValueError(f"expected whole seconds from 1 to {MAX_WAIT}")
    return value


_READERS: Mapping[str, Callable[[Any, Path], Any]] = {
    "gateway": _gateway,
    "node": _text,
    "data": _maybe_path,
    "federation": _maybe_text,
    "ca_file": _maybe_path,
    "inspection_ca_file": _maybe_path,
    "proxy": _proxy,
    "poll_seconds": _seconds,
}
_EXAMPLES: Mapping[str, str] = {
    "gateway": '"gateway": "https://gateway.example.org:8443"',
    "node": '"node": "site-1", the name in the federation\'s policy',
    "data": '"data": "site.csv"',
    "federation": '"federation": "north", the name in the federation\'s policy',
    "ca_file": '"ca_file": "ca.pem", or null where the system\'s authorities suffice',
    "inspection_ca_file": '"inspection_ca_file": "hospital-ca.pem", or null',
    "proxy": '"proxy": "http://proxy.example.org:3128", or null to use HTTPS_PROXY',
    "poll_seconds": f'"poll_seconds": {MAX_WAIT}',
}
