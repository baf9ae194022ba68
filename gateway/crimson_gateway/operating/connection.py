"""Which gateway is spoken to, whom to trust there, and which key signs."""

import os
from dataclasses import dataclass
from pathlib import Path

from crimson_gateway.homes import home_folder
from crimson_gateway.settings import FILE, GatewaySettings, SettingsFault, read_settings

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 addresses that a client cannot connect to


@dataclass(frozen=True)
class Connection:
    """`authority`: the one that is trusted, None for this system's. `public_url`: where hospitals find the gateway."""

    home: Path
    url: str
    public_url: str
    authority: Path | None
    key: Path


def connection_of(home: Path | None, url: str | None, authority: Path | None, key: Path | None) -> Connection:
    """What the options and the gateway's own settings say. Raises SettingsFault."""
    folder = home_folder(home)
    settings = read_settings(folder, os.environ) if (folder / FILE).is_file() else None
    if url is None and settings is None:
        raise SettingsFault(f"{folder} is no gateway's home", "give --home, or --url with --ca and --key")
    if url is not None and not url.startswith("https://"):
        raise SettingsFault("--url does not begin with https://", "give it like https://gateway.example.org")
    own = folder / "tls" / "ca.pem"
    if authority is None and own.is_file() and not (settings and settings.certificate):
        authority = own
    if authority is not None and not authority.is_file():
        raise SettingsFault(f"{authority} is missing", "copy tls/ca.pem from the gateway's home")
    local = url or (_address(settings, local=True) if settings else "")
    public = _address(settings, local=False) if settings and settings.port else local
    key = key or folder / "keys" / "operator.pem"
    if not key.is_file():
        raise SettingsFault(f"{key} is missing", "give your operator's key with --key")
    return Connection(folder, local.rstrip("/"), public.rstrip("/"), authority, key)


def _address(settings: GatewaySettings, *, local: bool) -> str:
    if settings.port == 0:
        raise SettingsFault(
            "gateway.json leaves the port to the system", "give --url as `crimson gateway serve` printed it"
        )
    hosts = [settings.host, *settings.names] if local else [*settings.names, settings.host]
    host = next((name for name in hosts if name not in EVERYWHERE), "127.0.0.1")
    shown = f"[{host}]" if ":" in host else host
    return f"https://{shown}" if settings.port == 443 else f"https://{shown}:{settings.port}"
