"""The keys that may sign requests: active nodes of the signed policy, and operators."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crimson_protocol.policy.document import Policy
from crimson_protocol.wire import web

MAX_FILE = 1 << 20
KEY_BYTES = 32


class OperatorsFault(Exception):
    """operators.json cannot be used."""


@dataclass(frozen=True)
class Caller:
    """Whoever signed a request. `node`: roster index, None for an operator."""

    key_id: str
    public: bytes
    name: str
    node: int | None


class Callers:
    """Callers by key id."""

    def __init__(self, callers: Iterable[Caller]) -> None:
        self._by_key = {caller.key_id: caller for caller in callers}
        # Stands in for unknown keys, so that they cost the same as known ones: the curve's base point. What
        # it verifies is refused all the same.
        self.nobody = Caller("", b"\x58" + b"\x66" * 31, "nobody", None)

    @classmethod
    def of(cls, policy: Policy, operators: Iterable[tuple[str, bytes]]) -> "Callers":
        """Active nodes first; an operator's key never stands for a node."""
        staff = [Caller(web.key_id(public), public, name, None) for name, public in operators]
        nodes = [
            Caller(web.key_id(entry.identity_key), entry.identity_key, entry.node, index)
            for index, entry in enumerate(policy.roster)
            if entry.status == "active"
        ]
        return cls([*staff, *nodes])

    def find(self, key_id: str) -> Caller | None:
        """The caller with this key id."""
        return self._by_key.get(key_id)


def read_operators(path: Path) -> list[tuple[str, bytes]]:
    """(name, public key) of every operator in the file; none where there is no file. Raises OperatorsFault."""
    if not path.exists():
        return []
    try:
        if path.stat().st_size > MAX_FILE:
            raise ValueError("the file is too large")
        operators = [
            (str(item["name"]), bytes.fromhex(item["public_key"])) for item in json.loads(path.read_bytes())
        ]
        if any(len(public) != KEY_BYTES for _, public in operators):
            raise ValueError("a public key has another length than 32 bytes")
    except (ValueError, TypeError, KeyError) as error:
        raise OperatorsFault(f"{path}: {error}") from error
    return operators
