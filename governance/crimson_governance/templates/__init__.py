"""What `crimson policy init` writes, as package data."""

from importlib.resources import files
from string import Template

ACCESS, SCHEMA = "access.cedar", "access.cedarschema"
EXAMPLES = (
    "examples/survival.moments.yaml",
    "examples/survival.yaml",
    "examples/survival.score.yaml",
    "examples/hazard.yaml",
)


def template(name: str) -> str:
    """The text of one of these files."""
    return files(__name__).joinpath(name).read_text("utf-8")


def filled(name: str, **values: str) -> str:
    """The text with its $names replaced."""
    return Template(template(name)).substitute(values)
