"""The gateway's settings: gateway.json in its home folder, below the environment, above the defaults."""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

FILE = "gateway.json"
MAX_FILE = 1 << 16
ENVIRONMENT = {"host": "FL_SERVER_HOST", "port": "FL_SERVER_PORT"}


class SettingsFault(Exception):
    """A setting cannot be used: what is wrong, and what to do."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.text, self.hint = text, hint


class GatewaySettings(BaseSettings):
    """Every setting. Times are in seconds, sizes in bytes, rates per second."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(8443, ge=0, le=65535)
    names: tuple[str, ...] = ()
    """Host names and addresses for the certificate, beside `host`."""
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(9464, ge=0, le=65535)
    enclave_socket: str | None = None
    policy: str = "policy"
    """The published policy repository: a folder, below the home unless it is an absolute path."""
    certificate: str | None = None
    private_key: str | None = None
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")

    invitation_hours: int = Field(24, ge=1, le=168)
    """Longest time that an invitation may count."""

    gather_seconds: float = Field(3600, gt=0)
    phase_seconds: float = Field(120, gt=0)
    grace_seconds: float = Field(2, ge=0)
    max_attempts: int = Field(5, ge=1, le=100)
    link_patience: float = Field(120, gt=0)

    header_seconds: float = Field(15, ge=1, le=60)
    stall_seconds: float = Field(15, gt=0)
    minimum_rate: int = Field(16 << 10, ge=1)
    free_space: int = Field(256 << 20, ge=0)
    address_rate: float = Field(500, gt=0)
    address_concurrency: int = Field(512, ge=1)
    key_rate: float = Field(50, gt=0)
    key_concurrency: int = Field(8, ge=1)
    failure_rate: float = Field(5, gt=0)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 what pydantic calls with
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `read_settings` was given: it has merged file and environment."""
        return (init_settings,)


def read_settings(
    home: Path, environment: Mapping[str, str], flags: Mapping[str, Any] | None = None
) -> GatewaySettings:
    """Flags, environment, file, defaults, in this order. Raises SettingsFault with the nearest key's name."""
    values = _file_values(home / FILE)
    for name in values:
        if name not in GatewaySettings.model_fields:
            near = get_close_matches(name, GatewaySettings.model_fields, n=1, cutoff=0.0)
            raise SettingsFault(f"unknown setting {name!r} in {home / FILE}", f"did you mean {near[0]!r}?")
    values |= {name: environment[key] for name, key in ENVIRONMENT.items() if key in environment}
    values |= {name: value for name, value in (flags or {}).items() if value is not None}
    try:
        return GatewaySettings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "?"
        raise SettingsFault(
            f"setting {name}: {first['msg']}", "give a value of that kind and range"
        ) from error


def _file_values(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    if path.stat().st_size > MAX_FILE:
        raise SettingsFault(f"{path} is larger than {MAX_FILE} bytes", "a configuration has a few lines")
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise SettingsFault(f"{path} is not JSON: {error}", "mend the file, or move it away") from error
    if not isinstance(values, dict):
        raise SettingsFault(f"{path} holds no object", 'write {"port": 8443} and the like')
    return values
