"""Writes the description of the HTTPS API beside the room: `python -m crimson_gateway.openapi`."""

import json
from pathlib import Path

from crimson_gateway.app import create_app
from crimson_gateway.files import write_file

FILE = Path(__file__).parents[1] / "openapi.json"


def main() -> None:
    """Write openapi.json anew."""
    write_file(FILE, (json.dumps(create_app().openapi(), indent=1) + "\n").encode(), 0o644)


if __name__ == "__main__":
    main()
