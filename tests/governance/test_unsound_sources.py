"""Every unsound combination, reached from a source: lint names the reason and ends with code 5."""

import base64

import pytest
from tests.governance.sources import (
    HAZARD,
    NODE,
    RECORD,
    Plain,
    federation,
    model,
    node,
    private,
    run,
    site_keys,
)

EIGHT = [node(f"site-{index}") for index in range(8)]
WIDE = {"numeric": [f"x{index}" for index in range(4096)], "losses": False}
SINGLE = {"numbers": {"bucket_size": 1}, "disclosures": ["simulated", "single-updates"]}
PAIRS = {"numbers": {"bucket_size": 2}, "disclosures": ["small-buckets"]}
# Written noise spares the accountant where another rule is tried.
NOISY = {**RECORD, "releases": 1}


def numbers(**changes: object) -> dict:
    return model(numbers=changes)


def filtered(changes: dict | None = None, **more: object) -> dict:
    """A model with sketches and their filter."""
    return model(
        plan=WIDE,
        sketch={"buckets": 64, **(changes or {})},
        **{
            "robust": {"rule": "sketch-filter", "tolerance": 1},
            "disclosures": ["simulated", "sketches"],
            **more,
        },
    )


def noisy(privacy: dict | None = None, **changes: object) -> dict:
    """A model with a record budget and noise as written."""
    numbers = {"noise": 4, "clip": 4, **changes.pop("numbers", {})}
    return private({**NOISY, **(privacy or {})}, numbers=numbers, **changes)


def robust(rule: str, tolerance: int = 0, **changes: object) -> dict:
    return model(robust={"rule": rule, "tolerance": tolerance}, **changes)


MIXED = {"robust": {"rule": "none", "mixing": True}}
MODELS = {
    "U1 value bits below eight": (numbers(value_bits=7), "value_bits"),
    "U1 no clip": (numbers(clip=0), "clip"),
    "U1 no weight cap": (numbers(weight_cap=0), "weight cap"),
    "U1 no slice": (numbers(slices=0), "slices"),
    "U1 empty buckets": (numbers(bucket_size=0), "no node"),
    "U1 everybody corrupt": (numbers(corrupt="1/1", min_cohort=8), "ratio below one"),
    "U1 everybody drops out": (numbers(dropout="3/2"), "ratio below one"),
    "U2 more than a third corrupt": (numbers(corrupt="2/5", min_cohort=8), "one third"),
    "U2 nobody corrupt, undeclared": (numbers(corrupt="0/1"), "no-corruption"),
    "U3 two nodes": (numbers(min_cohort=2), "fewer than three"),
    "U3 cohort below c + 3": (numbers(min_cohort=3), "c + 3"),
    "U3 more organisations than there are": (numbers(min_cohort=9), "organisations"),
    "U4 overflow": (numbers(ring_bits=16, value_bits=12), "overflow"),
    "U4 noise overflows": (numbers(noise=32_000), "overflow"),
    "U5 undeclared small buckets": (numbers(bucket_size=2), "small-buckets"),
    "U5 undeclared single updates": (numbers(bucket_size=1), "single-updates"),
    "U5 buckets beyond the cohort": (numbers(bucket_size=9), "exceeds"),
    "U6 median of one sum": (robust("median"), "one bare sum"),
    "U6 norm bound on one sum": (robust("norm-bound"), "binds nobody"),
    "U6 filter without sketches": (robust("sketch-filter"), "without sketches"),
    "U6 beyond the breakdown point": (
        robust("trimmed-mean", 2, numbers={"bucket_size": 2}, disclosures=["simulated", "small-buckets"]),
        "cannot tolerate 2",
    ),
    "U6 Krum beyond 2f + 3": (
        robust("krum", 3, numbers={"bucket_size": 1}, disclosures=["simulated", "single-updates"]),
        "tolerate 3",
    ),
    "U6 a robust sum of counters": (
        robust("median", strategy="sum", plan={"task": "moments"}),
        "no robust rule",
    ),
    "U7 enclave clip over a sum": (model(robust={"enclave_clip": True}), "bounds no node"),
    "U6 mixing before a plain mean": (robust("none", numbers={"bucket_size": 4}) | MIXED, "changes nothing"),
    "U6 centered clipping without a radius": (robust("centered-clipping", 1, **SINGLE), "radius above 0"),
    "U6 a sketch filter beyond 2f + 3": (
        filtered(robust={"rule": "sketch-filter", "tolerance": 3}),
        "cannot tolerate 3",
    ),
    "U6 fednova under a robust rule": (
        robust("median", strategy="fednova", **{**SINGLE, "numbers": {"bucket_size": 1, "steps_cap": 9}}),
        "claimed steps",
    ),
    "U8 Cox with record privacy": (
        noisy(plan={"task": "cox", "cuts": []}),
        "discrete hazard",
    ),
    "U9 rejection charged per record": (
        noisy(robust={"rule": "norm-bound"}, **SINGLE),
        "node sensitivity",
    ),
    "U10 dependent filter with central noise": (
        private(NODE, robust={"rule": "krum", "tolerance": 1}, **SINGLE),
        "central noise",
    ),
    "U10 mixing with central noise": (
        private(NODE, robust={"rule": "trimmed-mean", "tolerance": 1, "mixing": True}, **SINGLE),
        "mixing chooses",
    ),
    "U10 sketches before noise on each bucket": (
        private(
            {**NODE, "noise": "buckets"},
            robust={"rule": "sketch-filter", "tolerance": 1},
            sketch={"buckets": 64},
            plan=WIDE,
            disclosures=["simulated", "sketches"],
        ),
        "chooses before any noise",
    ),
    "U11 sketches with simulated evidence": (
        filtered(disclosures=["sketches"]),
        "both sketches and simulated",
    ),
    "U11 single updates with simulated evidence": (
        model(numbers={"bucket_size": 1}, disclosures=["single-updates"]),
        "both single-updates and simulated",
    ),
    "U12 sketch compresses too little": (
        model(
            sketch={"buckets": 64},
            robust={"rule": "sketch-filter"},
            plan={"losses": False},
            disclosures=["simulated", "sketches"],
        ),
        "16-fold",
    ),
    "U12 sketch with a broken row": (filtered({"buckets": 66}), "power of two"),
    "U12 sketch with five rows": (filtered({"rows": 5}), "4 rows"),
    "U12 sketch in no round": (filtered({"every": 0}), "how many rounds"),
    "U12 sketch that nobody reads": (filtered(robust={"rule": "none"}), "no sketch filter reads"),
    "U12 sketch of counters": (
        filtered() | {"plan": model(plan={**WIDE, "losses": True})["plan"]},
        "parameters and weight alone",
    ),
    "U13 private sum of counters": (
        private(NODE, strategy="sum", plan={"task": "moments", "cuts": []}),
        "exact counters",
    ),
    "U13 sum with parameters": (model(strategy="sum"), "exact counters"),
    "U13 a private model with its loss": (private(NODE, plan={"losses": True}), "carries none"),
    "U17 momentum of none": (model(strategy="fedavgm"), "need a momentum"),
    "U17 Adam without a second moment": (
        model(strategy="fedadam", server={"momentum": Plain("0.9")}),
        "second moment decay",
    ),
    "U17 Yogi as an alternative without adaptivity": (
        model(alternatives=["fedyogi"], server={"momentum": Plain("0.9"), "second_moment": Plain("0.99")}),
        "an adaptivity above 0",
    ),
    "U17 alternatives of what nodes compute": (
        model(strategy="fednova", alternatives=["fedavg"], numbers={"steps_cap": 9}),
        "may follow one another",
    ),
    "U17 a rate of nothing": (model(server={"rate": 0}), "learns nothing"),
    "U17 fednova without a cap": (model(strategy="fednova"), "steps_cap belongs"),
    "U17 a cap without fednova": (numbers(steps_cap=9), "steps_cap belongs"),
    "U17 fedprox without a proximal term": (model(strategy="fedprox"), "belong together"),
    "U17 a proximal term without fedprox": (model(plan={"proximal": Plain("0.1")}), "belong together"),
    "U18 no epsilon": (noisy({"epsilon": 0}), "epsilon must lie"),
    "U18 a delta of a tenth": (noisy({"delta_exponent": 1}), "delta must lie"),
    "U18 a delta beyond what accounts hold": (noisy({"delta_exponent": 13}), "delta must lie"),
    "U18 no release": (noisy({"releases": 0}), "affords no release"),
    "U18 noise that affords nothing": (
        noisy({"releases": None, "sampling": 1}, numbers={"noise": Plain("0.1")}),
        "affords no release",
    ),
    "U18 fednova": (private(NODE, strategy="fednova", numbers={"steps_cap": 9}), "which no noise covers"),
    "U18 weights by rows": (private(NODE, numbers={"weight_cap": 16}), "weight_cap 1"),
    "U18 no record clip": (noisy({"record_clip": 0}), "needs a record clip"),
    "U18 no divisor": (noisy({"divisor": 0}), "a public divisor"),
    "U18 no sampling": (noisy({"sampling": 0}), "sampling probability above 0"),
    "U18 sampling at node sensitivity": (noisy({"charge": "node"}), "nothing is gained"),
    "U18 sampled nodes": (private({**NODE, "sampling": Plain("0.5")}), "belong to the unit record"),
    "U18 a node's own noise for the node": (
        private(
            {**NODE, "noise": "nodes", "step_noise": 1, "epsilon": 100, "releases": 1}, numbers={"noise": 0}
        ),
        "charged for a record",
    ),
    "U18 a node's own noise, charged for the node": (
        noisy(
            {"noise": "nodes", "step_noise": 1, "epsilon": 100, "charge": "node", "sampling": 1},
            numbers={"noise": 0},
        ),
        "charged for a record",
    ),
    "U18 noise of none at the nodes": (
        noisy({"noise": "nodes", "step_noise": 0}, numbers={"noise": 0}),
        "protects nobody",
    ),
    "U18 a local step almost bare": (
        noisy({"noise": "nodes", "step_noise": Plain("0.4"), "epsilon": 100}, numbers={"noise": 0}),
        "at least half the record clip",
    ),
    "U18 noise of steps that nobody takes": (
        noisy({"step_noise": 1}),
        "belongs to noise at the nodes",
    ),
    "U20 private steps that would not be taken": (noisy(plan={"steps": 5}), "in each of 1 charged steps"),
    "U20 noise at the nodes in batches": (
        noisy({"noise": "nodes", "step_noise": 1, "epsilon": 100}, numbers={"noise": 0}, plan={"batch": 8}),
        "set steps so, batch 0",
    ),
    "U18 no noise": (noisy(numbers={"noise": 0}), "protects nobody"),
    "U18 noise without a budget": (numbers(noise=1), "buys nothing"),
    "U19 a bucket left out": (
        private(NODE, robust={"rule": "trimmed-mean", "tolerance": 1}, **PAIRS),
        "set enclave_clip",
    ),
    "U19 a norm bound before noise on each bucket": (
        private({**NODE, "noise": "buckets"}, robust={"rule": "norm-bound"}, **PAIRS),
        "set enclave_clip",
    ),
    "U20 another loss than the plan's": (model(loss="discrete-hazard"), "has the loss cox-partial"),
    "U20 a loss of nothing": (
        model(strategy="sum", loss="cross-entropy", plan={"task": "moments"}),
        "has the loss none",
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_an_unsound_model_is_refused_with_its_reason(name, source, capfd):
    changed, reason = MODELS[name]
    source.nodes, source.models = EIGHT, [changed]
    answer = run(capfd, "lint", source.write().folder)
    assert (answer.code, answer.error["code"]) == (5, "unsound-policy")
    assert any(reason in text and text.startswith("model: ") for text in answer.data["reasons"])
    assert reason in answer.error["message"]
    assert not answer.data["sound"] and not answer.data["models"]


TWICE = {
    "U14 node": {"node": "site-0"},
    "U14 identity key": {"identity_key": site_keys("site-0")[0].public.hex()},
    "U14 encryption key": {"encryption_key": base64.b64encode(site_keys("site-0")[1].public).decode()},
}


@pytest.mark.parametrize("name", TWICE)
def test_the_roster_has_nothing_twice(name, source, capfd):
    source.nodes = [*source.nodes, node("another", **TWICE[name])]
    answer = run(capfd, "lint", source.write().folder)
    assert answer.code == 5
    assert any(name.removeprefix("U14 ") in text and "twice" in text for text in answer.data["reasons"])


def test_an_organisation_with_two_sites_counts_once_for_a_model(source, capfd):
    """U14: several sites may be listed, if access rules let one of them train."""
    source.nodes = [*source.nodes, node("second", organisation="organisation of site-0")]
    answer = run(capfd, "lint", source.write().folder)
    assert answer.code == 5
    assert any("model: organisation of site-0 has more than one" in text for text in answer.data["reasons"])
    source.access += '@id("one") forbid (principal == Node::"second", action == Action::"train", resource);\n'
    assert run(capfd, "lint", source.write().folder).code == 0


def test_one_key_for_two_operators_or_an_operator_and_a_node(source, capfd):
    """U14 for those who may call the gateway."""
    source.federation["operators"] = [{"name": "operations", "key": source.nodes[0]["identity_key"]}]
    answer = run(capfd, "lint", source.write().folder)
    assert answer.code == 5 and "an operator's key is a node's too" in answer.data["reasons"]


DENIED = {
    "U15 a kind that is not enrolled": (
        {"federation": federation(enrolment={"approvals": 1, "kinds": ["blood_bank"]})},
        "site-0 is listed but may not join: the policy enrols no hospital",
    ),
    "U15 a node that a rule forbids": (
        {"more": '@id("not-you") forbid (principal == Node::"site-3", action == Action::"join", resource);'},
        "site-3 is listed but may not join: forbidden by not-you",
    ),
    "U15 a node that no rule permits": (
        {"replaced": ('["hospital", "blood_bank"]', '["blood_bank"]')},
        "site-5 is listed but may not join: no policy permits it",
    ),
    "U16 no Cedar at all": ({"access": "hello"}, "access rules: "),
    "U16 no schema at all": ({"schema": "hello"}, "access rules: "),
    "U16 an unknown attribute": (
        {"replaced": ("principal.status ==", "principal.state ==")},
        "attribute `state` on entity type `Node` not found",
    ),
    "U16 an unknown action": ({"replaced": ('Action::"train"', 'Action::"trian"')}, "trian"),
    "U16 an unknown type": (
        {"more": '@id("x") permit (principal == Nod::"a", action == Action::"train", resource);'},
        "Nod",
    ),
    "U16 another type than the schema's": (
        {"replaced": ("context.accepted >= 3", 'context.accepted == "3"')},
        "access rules: ",
    ),
    "U16 a decimal": (
        {"replaced": ("context.accepted >= 3", "context.accepted >= 3.5")},
        "access rules: ",
    ),
    "U16 no @id": ({"replaced": ('@id("train-while-active")', "")}, "has no @id"),
    "U16 an empty @id": ({"replaced": ('@id("train-while-active")', '@id("")')}, "has no @id"),
    "U16 an @id twice": (
        {"replaced": ('@id("train-while-active")', '@id("join-by-kind")')},
        "@id 'join-by-kind' is used twice",
    ),
    "U16 a template": (
        {"more": '@id("t") permit (principal == ?principal, action == Action::"train", resource);'},
        "templates",
    ),
    "U16 brackets without end": ({"access": "(" * 10_000}, "nest deeper"),
}


@pytest.mark.parametrize("name", DENIED)
def test_access_rules_that_deny_a_member_or_cannot_be_read_are_refused(name, source, capfd):
    changes, reason = DENIED[name]
    source.federation = changes.get("federation", source.federation)
    source.schema = changes.get("schema", source.schema)
    source.access = changes.get("access", source.access) + changes.get("more", "")
    if "replaced" in changes:
        assert changes["replaced"][0] in source.access
        source.access = source.access.replace(*changes["replaced"])
    answer = run(capfd, "lint", source.write().folder)
    assert (answer.code, answer.error["code"]) == (5, "unsound-policy")
    assert any(reason in text for text in answer.data["reasons"]), answer.data["reasons"]
    signed = run(capfd, "sign", source.folder, "--key", source.keys()["alice"], "--yes")
    assert (signed.code, signed.error["code"]) == (5, "unsound-policy")


def test_a_suspended_node_may_be_one_that_could_not_join(source, capfd):
    source.nodes.append(node("bank", kind="blood_bank", status="revoked"))
    source.federation["enrolment"] = {"approvals": 1, "kinds": ["hospital"]}
    assert run(capfd, "lint", source.write().folder).code == 0


def test_lines_that_end_as_on_windows_are_refused_in_what_is_signed_as_text(source, capfd):
    (source.folder / "access.cedar").write_bytes(source.access.replace("\n", "\r\n").encode())
    answer = run(capfd, "lint", source.folder)
    assert answer.code == 4 and "carriage returns" in answer.error["message"]


def test_every_reason_is_told_at_once(source, capfd):
    source.models = [numbers(min_cohort=2, corrupt="2/5")]
    reasons = run(capfd, "lint", source.write().folder).data["reasons"]
    assert len(reasons) >= 3


SOUND = {
    "whole cohort": model(),
    "declared pairs": model(numbers={"bucket_size": 2}, disclosures=["small-buckets"]),
    "declared single updates": model(numbers={"bucket_size": 1}, disclosures=["simulated", "single-updates"]),
    "buckets of c + 3": numbers(bucket_size=4),
    "declared sketches": filtered(),
    "sketches in every fifth round": filtered({"every": 5}),
    "hazard with record privacy": noisy(),
    "record privacy under a trimmed mean": noisy(
        robust={"rule": "trimmed-mean", "tolerance": 1, "enclave_clip": True}, **PAIRS
    ),
    "rejection charged by the node": noisy(
        {"charge": "node", "sampling": 1, "epsilon": 50},
        robust={"rule": "norm-bound"},
        **{**SINGLE, "numbers": {"bucket_size": 1, "noise": 40}},
    ),
    "Krum over noisy updates": private(
        {**NODE, "noise": "buckets"}, robust={"rule": "krum", "tolerance": 2}, **SINGLE
    ),
    "Cox with node privacy": private(NODE, plan={"task": "cox", "cuts": []}),
    "fedprox": model(strategy="fedprox", plan={"proximal": Plain("0.1")}),
    "fednova": model(strategy="fednova", numbers={"steps_cap": 9}),
    "fednova with a proximal term": model(
        strategy="fednova", numbers={"steps_cap": 9}, plan={"proximal": Plain("0.1")}
    ),
    "every server strategy": model(
        strategy="fedavg",
        alternatives=["fedadam", "fedavgm", "fedyogi"],
        server={"momentum": Plain("0.9"), "second_moment": Plain("0.99"), "adaptivity": Plain("0.001")},
    ),
    "a network": model(plan={**HAZARD, "hidden": [16]}),
    "mixing before a geometric median": model(
        robust={"rule": "geometric-median", "tolerance": 3, "mixing": True}, **SINGLE
    ),
    "trimmed mean over buckets": robust(
        "trimmed-mean", 1, numbers={"bucket_size": 2}, disclosures=["small-buckets"]
    ),
    "twenty ring bits": numbers(ring_bits=20, value_bits=12),
    "a sum of counters": model(strategy="sum", plan={"task": "moments"}),
    "an exact clip": numbers(clip=Plain("0.000001")),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_model_passes(name, source, capfd):
    source.nodes, source.models = EIGHT, [SOUND[name]]
    answer = run(capfd, "lint", source.write().folder)
    assert answer.code == 0 and answer.data["sound"]
    assert [item["model"] for item in answer.data["models"]] == ["model"]


def test_releases_that_cost_more_than_the_budget_are_refused_before_anything_else(source, capfd):
    """U21: found while the source is compiled, as it takes an accountant; nobody can sign it."""
    source.nodes, source.models = EIGHT, [private({**NODE, "releases": 41}, numbers={"noise": 20})]
    told = "41 releases cost epsilon "
    lint = run(capfd, "lint", source.write().folder)
    assert (lint.code, lint.error["code"]) == (4, "bad-source") and told in lint.error["message"]
    afforded = int(lint.error["message"].split("affords ")[1].split()[0])
    signed = run(capfd, "sign", source.folder, "--key", source.keys()["alice"], "--yes")
    assert signed.code == 4 and told in signed.error["message"]
    for releases, code in ((afforded, 0), (afforded + 1, 4)):
        source.models = [private({**NODE, "releases": releases}, numbers={"noise": 20})]
        assert run(capfd, "lint", source.write().folder).code == code


def test_an_empty_roster_is_sound_without_models_and_not_with_one(source, capfd):
    source.nodes, source.models = [], []
    assert run(capfd, "lint", source.write().folder).code == 0
    source.models = [model()]
    assert run(capfd, "lint", source.write().folder).code == 5


def test_three_nodes_need_the_declared_weakness(source, capfd):
    source.nodes = EIGHT[:3]
    source.models = [model(numbers={"corrupt": "0/1", "min_cohort": 3}, disclosures=["no-corruption"])]
    assert run(capfd, "lint", source.write().folder).code == 0
