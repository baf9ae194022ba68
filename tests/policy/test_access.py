"""Access decisions: the template's rules against a table worked out here by hand, and every doubt is a denial."""

import random
from collections.abc import Iterator
from dataclasses import replace

import cedarpy
import pytest
from tests.playground import ACCESS, MODEL, make_parties

from crimson_protocol.errors import CallerFault, PolicyRefusal
from crimson_protocol.policy.access import Access, AccessRules, Decision, Entity, Question, Value
from crimson_protocol.policy.decisions import may_export, may_join, may_release, may_start, may_train
from crimson_protocol.policy.document import DISCLOSURES, KINDS, LOSSES, STATUSES, STRATEGIES, OperatorEntry
from crimson_protocol.refusal import Refusal

TEMPLATE = Access.of(ACCESS)
POLICY = make_parties(4).policy
ENTRY, OPERATOR = POLICY.roster[0], OperatorEntry("op", bytes(32), ("rounds",))
ACTIONS = ("join", "train", "start-round", "release", "export")
ROLES = ("auditor", "backend", "rounds", "Rounds", "")

Expected = tuple[bool, tuple[str, ...]]


def drawn(draw: random.Random) -> tuple[Question, Expected]:
    """A question that fits the schema, and its answer by a table that knows nothing of Cedar."""
    action = draw.choice(ACTIONS)
    node = {
        "organisation": draw.choice(["a", "a hospital", "é ✓"]),
        "kind": draw.choice([*KINDS, "laboratory", "Hospital", ""]),
        "status": draw.choice([*STATUSES, "Active", ""]),
    }
    roles = tuple(sorted(draw.sample(ROLES, draw.randrange(len(ROLES)))))
    model = {
        "strategy": draw.choice(STRATEGIES),
        "loss": draw.choice(LOSSES),
        "private": draw.random() < 0.5,
        "disclosures": tuple(sorted(draw.sample(DISCLOSURES, draw.randrange(len(DISCLOSURES))))),
    }
    accepted = draw.choice([0, 1, 2, 3, 4, -3, 2**63 - 1, -(2**63), draw.randrange(100)])
    context: dict[str, Value] = {"round": draw.randrange(2**40)}
    name = draw.choice(["site-0", 'q"uote', "new\nline", 'Action::"join"', "é ✓"])
    enclave = {"kind": draw.choice(["sim", "hardware"]), "simulated": draw.random() < 0.5}
    principal = {
        "join": Entity("Node", name, node),
        "train": Entity("Node", name, node),
        "start-round": Entity("Operator", name, {"roles": roles}),
        "release": Entity("Enclave", name, enclave),
        "export": Entity("Operator", name, {"roles": roles}),
    }[action]
    resource = Entity("Federation", name) if action == "join" else Entity("Model", name, model)
    if action == "release":
        context |= {"accepted": accepted, "dropped": draw.randrange(100)}
    question = Question(action, principal, resource, context if action in ACTIONS[2:] else {})
    return question, table(action, node, roles, accepted)


def table(action: str, node: dict[str, str], roles: tuple[str, ...], accepted: int) -> Expected:
    """What the template's text says, read by a person."""
    if action == "train":
        rule = {"active": "train-while-active", "suspended": "no-training-while-suspended"}.get(
            node["status"]
        )
        return node["status"] == "active", (rule,) if rule else ()
    allowed, rule = {
        "join": (node["kind"] == "hospital" or node["kind"] == "blood_bank", "join-by-kind"),
        "start-round": ("rounds" in roles, "rounds-by-their-operators"),
        "release": (accepted > 2, "release-sums-of-three"),
        "export": ("backend" in roles, "export-to-the-backend"),
    }[action]
    return allowed, (rule,) if allowed else ()


def test_a_thousand_drawn_questions_are_answered_as_the_table_says():
    draw, seen = random.Random(20), set()
    for _ in range(1000):
        question, expected = drawn(draw)
        decision = TEMPLATE.decide(question)
        assert (decision.allowed, decision.policies) == expected, question
        seen.add((question.action, decision.allowed))
    assert seen == {(action, allowed) for action in ACTIONS for allowed in (True, False)}


def with_rule(*rules: str) -> Access:
    """The template with more rules."""
    return Access.of(AccessRules("\n".join([ACCESS.policies, *rules]), ACCESS.schema))


def release(accepted: Value = 5, **changes: Value) -> Question:
    """A release that the template permits."""
    model: dict[str, Value] = {"strategy": "fedavg", "loss": "none", "private": False, "disclosures": ()}
    context: dict[str, Value] = {"round": 1, "accepted": accepted, "dropped": 0}
    enclave = Entity("Enclave", "enclave", {"kind": "sim", "simulated": True})
    return Question("release", enclave, Entity("Model", "m", model), {**context, **changes})


OVERFLOWS = "context.accepted * 9223372036854775807 > 0"
SIMULATED = (
    '@id("hardware") forbid (principal, action == Action::"release", resource) when { principal.simulated };'
)


def test_a_forbid_outweighs_every_permit_and_is_named():
    assert TEMPLATE.decide(release()) == Decision(
        True, ("release-sums-of-three",), "permitted by release-sums-of-three"
    )
    more = '@id("all") permit (principal, action, resource);'
    assert with_rule(more).decide(release()).policies == ("all", "release-sums-of-three")
    decision = with_rule(more, SIMULATED).decide(release())
    assert (decision.allowed, decision.policies) == (False, ("hardware",))
    assert decision.reason == "forbidden by hardware"


@pytest.mark.parametrize("effect", ["forbid", "permit"])
def test_a_rule_that_fails_while_it_is_evaluated_denies(effect: str):
    """Cedar leaves such a rule out: its forbid would forbid nothing, beside a permit that holds."""
    rule = f'@id("fails") {effect} (principal, action == Action::"release", resource) when {{ {OVERFLOWS} }};'
    access = with_rule(rule)
    decision = access.decide(release())
    assert not decision.allowed
    assert decision.reason.startswith("error: ") and "overflow" in decision.reason
    # The same rule decides where it does not fail: that it failed was the reason.
    assert access.decide(release(accepted=1)).reason == (
        "forbidden by fails" if effect == "forbid" else "permitted by fails"
    )


def undecided() -> Iterator[tuple[str, Question]]:
    """Questions that Cedar does not decide: they are not of the schema."""
    good = release()
    yield "unknown action", replace(good, action="destroy")
    yield "unknown kind of principal", replace(good, principal=Entity("Ghost", "enclave"))
    yield (
        "principal of another action",
        replace(good, principal=Entity("Operator", "o", {"roles": ("rounds",)})),
    )
    yield "resource of another action", replace(good, resource=Entity("Federation", "f"))
    yield "no context", replace(good, context={})
    yield "context of another type", release(accepted="5")
    yield "context that the schema does not know", release(sudo=True)
    yield "attribute missing", replace(good, principal=Entity("Enclave", "e", {"kind": "sim"}))
    yield (
        "attribute too many",
        replace(good, resource=Entity("Model", "m", {**good.resource.attributes, "x": 1})),
    )
    yield (
        "attribute of another type",
        replace(good, principal=Entity("Enclave", "e", {"kind": 1, "simulated": True})),
    )


@pytest.mark.parametrize(("name", "question"), list(undecided()), ids=[name for name, _ in undecided()])
def test_a_question_that_cedar_does_not_decide_is_denied(name: str, question: Question):
    everything = with_rule('@id("all") permit (principal, action, resource);')
    decision = everything.decide(question)
    assert (decision.allowed, decision.policies) == (False, ())
    assert decision.reason


def test_no_decision_is_a_denial(monkeypatch):
    """Whatever Cedar says that is neither Allow nor an error."""

    class Nothing:
        decision = cedarpy.Decision.NoDecision

        class diagnostics:
            reasons, errors = ("policy0",), ()

    monkeypatch.setattr(cedarpy, "is_authorized", lambda *_: Nothing)
    assert not TEMPLATE.decide(release()).allowed


@pytest.mark.parametrize(
    "value", [2**63, -(2**63) - 1, 2**200, 0.5, 5.0, float("nan"), None, b"x", ("a", 1), ["a"], {}]
)
@pytest.mark.parametrize("place", ["context", "principal", "resource"])
def test_what_cedar_has_no_type_for_never_reaches_it(value: object, place: str, monkeypatch):
    monkeypatch.setattr("cedarpy.is_authorized", lambda *_: pytest.fail("Cedar was asked"))
    question = release()
    if place == "context":
        question = release(accepted=value)
    else:
        entity = getattr(question, place)
        question = replace(
            question, **{place: replace(entity, attributes={**entity.attributes, "kind": value})}
        )
    with pytest.raises(CallerFault) as found:
        TEMPLATE.decide(question)
    assert found.value.code is Refusal.OUT_OF_RANGE


GOOD = '@id("a") permit (principal, action, resource);'


@pytest.mark.parametrize(
    ("policies", "schema", "fault"),
    [
        ("permit (principal, action, resource);", None, "no @id"),
        (GOOD + GOOD, None, "used twice"),
        (f'@id("{"x" * 65}") permit (principal, action, resource);', None, "longer than 64"),
        ('@id("t") permit (principal == ?principal, action, resource);', None, "templates"),
        ('@id("a") permit (principal, action, resource) when { principal.age > 3 };', None, "age"),
        ('@id("a") permit (principal, action == Action::"destroy", resource);', None, "destroy"),
        ("permit everybody", None, ""),
        (GOOD, "entity", ""),
        (
            f'@id("a") permit (principal, action, resource) when {{ {"(" * 100}true{")" * 100} }};',
            None,
            "deeper",
        ),
    ],
)
def test_rules_that_cannot_be_meant_are_refused_before_anybody_asks(
    policies: str, schema: str | None, fault: str
):
    with pytest.raises(PolicyRefusal, match=f"(?s)access rules: .*{fault}") as found:
        Access.of(AccessRules(policies, schema or ACCESS.schema))
    assert found.value.code is Refusal.UNSOUND_POLICY


def test_the_five_decisions_of_a_federation():
    assert may_join(POLICY, ENTRY).policies == ("join-by-kind",)
    assert may_train(POLICY, ENTRY, MODEL).policies == ("train-while-active",)
    assert may_start(POLICY, OPERATOR, MODEL, 1).policies == ("rounds-by-their-operators",)
    assert not may_export(POLICY, OPERATOR, MODEL, 1).allowed
    assert may_export(POLICY, replace(OPERATOR, roles=("backend",)), MODEL, 1).allowed
    facts = {"round": 1, "dropped": 0, "simulated": True}
    assert may_release(POLICY, MODEL, accepted=3, **facts).allowed
    assert not may_release(POLICY, MODEL, accepted=2, **facts).allowed


def test_a_kind_that_the_policy_does_not_enrol_may_not_join_whatever_the_rules_say():
    narrow = replace(POLICY, enrolment=replace(POLICY.enrolment, kinds=("blood_bank",)))
    decision = may_join(narrow, ENTRY)
    assert (decision.allowed, decision.reason) == (False, "the policy enrols no hospital")


def test_a_model_that_is_not_listed_is_nobodys_to_train():
    for ask in (lambda: may_train(POLICY, ENTRY, "other"), lambda: may_start(POLICY, OPERATOR, "other", 1)):
        with pytest.raises(PolicyRefusal) as found:
            ask()
        assert found.value.code is Refusal.MODEL_REJECTED
