"""Settings from `fl_config.json` and `FL_*` variables, below flags and above defaults.

Precedence: flag, environment, file, default. An unknown key is an error that names the nearest one. Keys
that only a server has are checked and kept for `crimson config show`; a run on one machine does not use them.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from crimson_protocol.errors import PolicyRefusal
from crimson_protocol.refusal import Refusal
from crimson_simulation.options import BadOption

FILE = Path("fl_config.json")
PREFIX = "FL_"
MAX_FILE = 1 << 16

MODEL_TYPES = {
    "survival_analysis": "survival",
    "time_series": "forecast",
    "time_series_forecasting": "forecast",
    "reinforcement_learning": "inventory",
}


def _flag(text: object) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if isinstance(text, bool):
        return text
    if str(text).lower() not in words:
        raise ValueError(text)
    return words[str(text).lower()]


def _model(text: object) -> str:
    return MODEL_TYPES.get(str(text), str(text))


def _strategy(text: object) -> str:
    return "geometric-median" if text == "robust" else str(text)


@dataclass(frozen=True)
class Key:
    """One setting: its key in the file, its variable, how it is read, its default, and the option it sets."""

    name: str
    variable: str
    read: Callable[[Any], Any]
    default: Any
    option: str | None = None


KEYS = (
    Key("server_host", "FL_SERVER_HOST", str, "127.0.0.1"),
    Key("server_port", "FL_SERVER_PORT", int, 8443),
    Key("num_rounds", "FL_NUM_ROUNDS", int, 20, "rounds"),
    Key("min_fit_clients", "FL_MIN_FIT_CLIENTS", int, 3),
    Key("min_evaluate_clients", "FL_MIN_EVALUATE_CLIENTS", int, 3),
    Key("min_available_clients", "FL_MIN_AVAILABLE_CLIENTS", int, 3),
    Key("enable_differential_privacy", "FL_ENABLE_DP", _flag, False),
    Key("dp_epsilon", "FL_DP_EPSILON", float, 8.0, "epsilon"),
    Key("dp_delta", "FL_DP_DELTA", float, 1e-5, "delta"),
    Key("dp_noise_multiplier", "FL_DP_NOISE_MULTIPLIER", float, None),
    Key("model_type", "FL_MODEL_TYPE", _model, "survival", "model"),
    Key("aggregation_strategy", "FL_AGGREGATION_STRATEGY", _strategy, "fedavg", "strategy"),
    Key("enable_encryption", "FL_ENABLE_ENCRYPTION", _flag, True),
    Key("log_level", "FL_LOG_LEVEL", str, "INFO"),
    Key("learning_rate", "FL_LEARNING_RATE", float, 0.1, "learning_rate"),
    Key("batch_size", "FL_BATCH_SIZE", int, None),
    Key("max_concurrent_clients", "FL_MAX_CONCURRENT_CLIENTS", int, None),
)


@dataclass(frozen=True)
class Setting:
    """A value and where it came from: default, the file's name, or the variable's."""

    key: Key
    value: Any
    origin: str


def read_settings(environment: Mapping[str, str], path: Path = FILE) -> dict[str, Setting]:
    """Every setting by its file key. Raises BadOption, and PolicyRefusal for encryption switched off."""
    settings = {key.name: Setting(key, key.default, "default") for key in KEYS}
    by_variable = {key.variable: key for key in KEYS}
    for name, value in _file_values(path).items():
        key = _known(name, {key.name: key for key in KEYS}, str(path))
        settings[key.name] = Setting(key, _read(key, value, str(path)), str(path))
    for variable, text in environment.items():
        if variable.startswith(PREFIX):
            key = _known(variable, by_variable, "the environment")
            settings[key.name] = Setting(key, _read(key, text, variable), variable)
    if settings["enable_encryption"].value is False:
        text = (
            f"{settings['enable_encryption'].origin} switches encryption off, and there is no path without it"
        )
        raise PolicyRefusal(Refusal.UNSOUND_POLICY, text)
    return settings


def option_defaults(settings: Mapping[str, Setting]) -> dict[str, Any]:
    """What the settings put in place of the train command's defaults, by parameter name."""
    given = {name: setting for name, setting in settings.items() if setting.origin != "default"}
    defaults = {setting.key.option: setting.value for setting in given.values() if setting.key.option}
    if settings["enable_differential_privacy"].value:
        defaults["dp"] = "record"
    return defaults


def _file_values(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    if path.stat().st_size > MAX_FILE:
        raise BadOption(f"{path} is larger than {MAX_FILE} bytes", "a configuration has a few lines")
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise BadOption(f"{path} is not JSON: {error}", "mend the file, or move it away") from error
    if not isinstance(values, dict):
        raise BadOption(f"{path} holds no object", 'write {"num_rounds": 15} and the like')
    return values


def _known(name: str, known: Mapping[str, Key], place: str) -> Key:
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.0)
        raise BadOption(f"unknown setting {name} in {place}", f"did you mean {near[0]}?")
    return known[name]


def _read(key: Key, value: Any, place: str) -> Any:
    try:
        if isinstance(value, dict | list) or value is None:
            raise ValueError(value)
        return key.read(value)
    except (TypeError, ValueError) as error:
        raise BadOption(f"{key.name} in {place} cannot be read", f"its default is {key.default}") from error
