"""Typer applications as commands of the `crimson` launcher."""

from typing import Any

import typer
from typer.exceptions import TyperException

from crimson_governance.outcome import BAD_INPUT, OK, Failure, print_failure


def run_app(app: typer.Typer, argv: list[str], name: str, defaults: dict[str, Any] | None = None) -> int:
    """Run a typer application as one command of the launcher; bad usage gives exit code 4.

    `defaults` stand in for the options' own defaults, by parameter name.
    """
    try:
        return int(app(argv, prog_name=name, standalone_mode=False, default_map=defaults) or OK)
    except TyperException as error:
        hint = f"{name} --help lists the options, with examples"
        return print_failure(Failure(BAD_INPUT, "usage", _usage(error), hint), as_json="--json" in argv)


def _usage(error: TyperException) -> str:
    """The error with the option's name, where the library knows it."""
    described = getattr(error, "format_message", None)
    return str(described() if described else error)
