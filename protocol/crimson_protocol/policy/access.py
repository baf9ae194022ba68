"""Access rules in Cedar: parsed once, asked often, and every doubt is a denial.

Cedar skips a policy that fails while it is evaluated, so a failing `forbid` would not forbid. Here any error, and
any question that Cedar does not decide, denies. Floats are refused before Cedar sees them: there are none in Cedar.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import cedarpy

from crimson_protocol.errors import CallerFault, PolicyRefusal
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.records import Prose, Record

MAX_RULES, MAX_SCHEMA = 1 << 16, 1 << 14
MAX_REASON, MAX_ID = 200, 64
# Cedar's parser descends into brackets by recursion.
_DEEPEST = 64

Value = bool | int | str | tuple[str, ...]
"""What an attribute or a context field may be. Cedar's integers have 64 bits."""


@dataclass(frozen=True)
class AccessRules(Record):
    """Texts of a Cedar policy set, each policy with an @id, and of its schema."""

    policies: Annotated[str, Prose(MAX_RULES)]
    schema: Annotated[str, Prose(MAX_SCHEMA)]


@dataclass(frozen=True)
class Entity:
    """A principal or a resource with its attributes."""

    kind: str
    name: str
    attributes: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """May `principal` do `action` to `resource`, under `context`?"""

    action: str
    principal: Entity
    resource: Entity
    context: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """The answer with the ids of the policies that determined it; `reason` is for people."""

    allowed: bool
    policies: tuple[str, ...]
    reason: str


class Access:
    """A policy set and schema, parsed."""

    def __init__(self, policies: cedarpy.PolicySet, schema: cedarpy.Schema, ids: Mapping[str, str]) -> None:
        self._policies, self._schema, self._ids = policies, schema, ids

    @classmethod
    def of(cls, rules: AccessRules) -> "Access":
        """The rules, parsed. Raises PolicyRefusal(UNSOUND_POLICY) with the first fault that `faults` finds."""
        for fault in faults(rules):
            raise PolicyRefusal(Refusal.UNSOUND_POLICY, f"access rules: {fault}")
        schema = cedarpy.Schema.from_str(rules.schema)
        return cls(cedarpy.PolicySet.from_str(rules.policies), schema, dict(_named(rules.policies)))

    def decide(self, question: Question) -> Decision:
        """The decision. Raises CallerFault for a value that Cedar has no type for, a float above all."""
        asked = {
            "principal": _uid(question.principal),
            "action": {"type": "Action", "id": question.action},
            "resource": _uid(question.resource),
            "context": {name: _plain(value) for name, value in question.context.items()},
        }
        entities = [_entity(question.principal), _entity(question.resource)]
        answer = cedarpy.is_authorized(asked, self._policies, entities, self._schema)
        policies = tuple(sorted(self._ids.get(found, found) for found in answer.diagnostics.reasons))
        if answer.diagnostics.errors:
            # An error may be a forbid that could not be evaluated.
            return Decision(False, policies, _line(f"error: {answer.diagnostics.errors[0]}"))
        if answer.decision is cedarpy.Decision.Allow:
            return Decision(True, policies, _line(f"permitted by {', '.join(policies)}"))
        reason = f"forbidden by {', '.join(policies)}" if policies else "no policy permits it"
        return Decision(False, policies, _line(reason))


def faults(rules: AccessRules) -> list[str]:
    """Everything that is wrong with the rules: unreadable, not of their schema, an @id missing or used twice."""
    policies, schema = rules.policies, rules.schema
    if _depth(policies) > _DEEPEST or _depth(schema) > _DEEPEST:
        return [f"brackets nest deeper than {_DEEPEST}"]
    try:
        parsed = cedarpy.Schema.from_str(schema)
        cedarpy.PolicySet.from_str(policies)
        named = _named(policies)
    except ValueError as error:
        return [str(error)]
    ids = [identifier for _, identifier in named]
    found = [f"a policy ({place}) has no @id" for place, identifier in named if not identifier]
    found += [f"@id {name!r} is used twice" for name in sorted({name for name in ids if ids.count(name) > 1})]
    bad = [name for name in ids if len(name.encode()) > MAX_ID or not name.isprintable()]
    found += [f"@id {name!r} is longer than {MAX_ID} bytes, or not printable" for name in bad]
    result = cedarpy.validate_policies(policies, parsed)
    return found + [str(error.error) for error in result.errors]


def _named(policies: str) -> list[tuple[str, str]]:
    """Cedar's own place of each policy, and its @id."""
    document = json.loads(cedarpy.policies_to_json_str(policies))
    if document["templates"]:
        raise ValueError("templates with ?principal or ?resource are not used here")
    found = document["staticPolicies"]
    return [(place, found[place].get("annotations", {}).get("id") or "") for place in found]


def _line(text: str) -> str:
    """One printable line of bounded length: it goes into answers and reports."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:MAX_REASON]


def _depth(text: str) -> int:
    """Deepest nesting of brackets; those in strings and comments count too."""
    deepest = now = 0
    for letter in text:
        now += (letter in "([{") - (letter in ")]}")
        deepest = max(deepest, now)
    return deepest


def _uid(entity: Entity) -> dict[str, str]:
    return {"type": entity.kind, "id": entity.name}


def _entity(entity: Entity) -> dict[str, Any]:
    attributes = {name: _plain(value) for name, value in entity.attributes.items()}
    return {"uid": _uid(entity), "attrs": attributes, "parents": []}


def _plain(value: Value) -> Any:
    match value:
        case bool() | str():
            return value
        case int() if -(2**63) <= value < 2**63:
            return value
        case tuple() if all(isinstance(item, str) for item in value):
            return list(value)
    raise CallerFault(Refusal.OUT_OF_RANGE, f"access rules know no {type(value).__name__} like this one")
