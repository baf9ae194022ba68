"""The keys that may sign requests: active nodes and operators, both as the signed policy lists them."""

from collections.abc import Iterable
from dataclasses import dataclass

from crimson_protocol.policy.document import Policy
from crimson_protocol.wire import web

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
    def of(cls, policy: Policy) -> "Callers":
        """Active nodes first; an operator's key never stands for a node."""
        staff = [Caller(web.key_id(entry.key), entry.key, entry.name, None) for entry in policy.operators]
        nodes = [
            Caller(web.key_id(entry.identity_key), entry.identity_key, entry.node, index)
            for index, entry in enumerate(policy.roster)
            if entry.status == "active"
        ]
        return cls([*staff, *nodes])

    def find(self, key_id: str) -> Caller | None:
        """The caller with this key id."""
        return self._by_key.get(key_id)
