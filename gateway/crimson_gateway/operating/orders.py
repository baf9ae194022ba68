"""An operator's order to start a round, as POST /v1/rounds takes it."""

import json


def round_order(model: str) -> bytes:
    """The body that orders one round of a model."""
    return json.dumps({"model": model}).encode()
