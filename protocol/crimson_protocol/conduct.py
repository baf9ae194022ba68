"""What the log shows of each node, as evidence for its trust score: anybody who reads the log gets the same score.

The log names failures alone: no pass and no absence counts here, and a group that failed in several rounds of a roster
epoch counts once, by the strongest test that it failed.
"""

from collections.abc import Iterable, Sequence

from crimson_protocol.errors import PeerFault
from crimson_protocol.events import MAX_EVENT, Event
from crimson_protocol.refusal import Refusal
from crimson_protocol.trust import GROUPS, Conduct, GroupTest, posterior

PROVEN = frozenset(
    code.value
    for code in (Refusal.SECOND_INPUT, Refusal.EQUIVOCATION, Refusal.BAD_DEALER, Refusal.FALSE_COMPLAINT)
)
"""Faults that rest on what the node itself signed."""
SKETCH_FLAG = "sketch-"


def suspicions(names: Sequence[str], leaves: Iterable[bytes], prior: float = 0.05) -> dict[str, float]:
    """For each name the probability that its node is bad, by the log's leaves; a leaf that cannot be read is skipped,
    since a relay may have altered its copy."""
    places = {name: place for place, name in enumerate(names)}
    flags: dict[str, set[tuple[str | None, int]]] = {name: set() for name in names}
    convicted: set[str] = set()
    groups: dict[bytes, tuple[str, set[int]]] = {}
    for event in _readable(leaves):
        name, code = event.culprit, event.code or ""
        if name not in places:
            continue
        if event.kind == "fault" and code in PROVEN:
            convicted.add(name)
        elif event.kind == "flag" and code in GROUPS:
            groups.setdefault(event.digest or b"", (code, set()))[1].add(places[name])
        elif event.kind == "flag" and code.startswith(SKETCH_FLAG):
            flags[name].add((event.model, event.round))
    conduct = {
        place: Conduct(flagged=len(flags[name]), convicted=name in convicted)
        for name, place in places.items()
    }
    failed: dict[tuple[int, ...], str] = {}
    for code, nodes in sorted(groups.values(), key=lambda group: (GROUPS[group[0]].failed, group[0])):
        failed[tuple(sorted(nodes))] = code
    tests = [GroupTest(nodes, code, True) for nodes, code in sorted(failed.items())]
    odds = posterior(conduct, tests, prior)
    return {name: odds[place] for name, place in places.items()}


def _readable(leaves: Iterable[bytes]) -> Iterable[Event]:
    for leaf in leaves:
        try:
            yield Event.from_bytes(leaf, MAX_EVENT)
        except PeerFault:
            continue
