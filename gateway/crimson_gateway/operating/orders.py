"""An operator's order to start a round, as POST /v1/rounds takes it."""

import json


def round_order(model: str, strategy: str | None = None) -> bytes:
    """The body that orders one round of a model, by an alternative strategy where one is named."""
    return json.dumps({"model": model, "strategy": strategy}).encode()
