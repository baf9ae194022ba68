"""Names of the spool's shelves: what is removed together lies together."""

ENDORSEMENTS = "endorsements"
RELEASES = "releases"
ROUNDS = "rounds"


def letters(round_id: int) -> str:
    """What the enclave said in a round."""
    return f"{ROUNDS}/{round_id}/letters"


def uploads(round_id: int, attempt: int) -> str:
    """What nodes sent in one attempt."""
    return f"{ROUNDS}/{round_id}/attempts/{attempt}"


def attempts(round_id: int) -> str:
    """Everything that nodes sent in a round."""
    return f"{ROUNDS}/{round_id}/attempts"


def round_folder(round_id: int) -> str:
    """Everything of a round."""
    return f"{ROUNDS}/{round_id}"
