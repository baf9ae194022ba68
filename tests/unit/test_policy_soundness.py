"""Unsound combinations are refused with their reason, when a policy is written and when it is loaded."""

from dataclasses import replace

import pytest
from tests.playground import (
    NOW,
    default_numbers,
    default_rules,
    entropy,
    load_policy,
    make_parties,
    sign_policy,
)

from crimson_protocol.errors import PeerFault, PolicyRefusal
from crimson_protocol.policy.document import ModelRules, Policy, ServerRules, SketchRules
from crimson_protocol.policy.privacy_rules import PrivacyRules
from crimson_protocol.policy.soundness import reasons
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.keys import DualKey

AT_NODES = PrivacyRules(
    "record",
    8000,
    5,
    100_000,
    1_000_000,
    100,
    10,
    "nodes",
    "record",
    step_multiplier_micro=1_000_000,
    steps=5,
)
RECORD = PrivacyRules("record", 8000, 5, 100_000, 1_000_000, 100, 10, "release", "record")
NODE = PrivacyRules("node", 8000, 3, 1_000_000, 0, 0, 10, "release", "node")
PRIVATE = {"counters": 0, "weight_cap": 1, "noise_micro": 8_000_000}
QUIET = PRIVATE | {"noise_micro": 0}
SKETCHED = {"parameters": 4096, "counters": 0}
SKETCHES = {"robust_rule": "sketch-filter", "robust_tolerance": 1, "disclosures": ("simulated", "sketches")}


def rules(nodes: int = 8, numbers: dict | None = None, **changes: object) -> ModelRules:
    """Rules of one model with changes in its numbers and fields."""
    return default_rules(default_numbers(nodes, **(numbers or {})), **changes)


def policy(changed: ModelRules, nodes: int = 8) -> Policy:
    """A policy of `nodes` hospitals with one model."""
    return replace(make_parties(nodes).policy, models=(changed,))


UNSOUND = {
    "U1 value bits below eight": (rules(numbers={"value_bits": 7}), "value_bits"),
    "U1 no clip": (rules(numbers={"clip_micro": 0}), "clip"),
    "U1 empty buckets": (rules(numbers={"bucket_size": 0}), "no node"),
    "U1 everybody corrupt": (rules(numbers={"corrupt": (1, 1), "min_cohort": 8}), "ratio below one"),
    "U2 more than a third corrupt": (rules(numbers={"corrupt": (2, 5), "min_cohort": 8}), "one third"),
    "U2 nobody corrupt, undeclared": (rules(numbers={"corrupt": (0, 1)}, disclosures=()), "no-corruption"),
    "U3 two nodes": (rules(numbers={"min_cohort": 2}), "fewer than three"),
    "U3 cohort below c + 3": (rules(numbers={"min_cohort": 3}), "c + 3"),
    "U3 more organisations than there are": (rules(numbers={"min_cohort": 9}), "organisations"),
    "U4 overflow": (rules(numbers={"ring_bits": 16, "value_bits": 12}), "overflow"),
    "U4 noise overflows": (rules(numbers={"noise_micro": 8_000_000 * 4000}), "overflow"),
    "U5 undeclared small buckets": (rules(numbers={"bucket_size": 2}, disclosures=()), "small-buckets"),
    "U5 undeclared single updates": (rules(numbers={"bucket_size": 1}, disclosures=()), "single-updates"),
    "U5 buckets beyond the cohort": (rules(numbers={"bucket_size": 9}), "exceeds"),
    "U6 median of one sum": (rules(robust_rule="median"), "one bare sum"),
    "U6 norm bound on one sum": (rules(robust_rule="norm-bound"), "binds nobody"),
    "U6 filter without sketches": (rules(robust_rule="sketch-filter"), "without sketches"),
    "U6 beyond the breakdown point": (
        rules(numbers={"bucket_size": 2}, robust_rule="trimmed-mean", robust_tolerance=2),
        "cannot tolerate 2",
    ),
    "U6 Krum beyond 2f + 3": (
        rules(numbers={"bucket_size": 1}, robust_rule="krum", robust_tolerance=3),
        "tolerate 3",
    ),
    "U7 enclave clip over a sum": (rules(enclave_clip=1), "bounds no node"),
    "U8 Cox with record privacy": (rules(loss="cox-partial-likelihood", privacy=RECORD), "discrete hazard"),
    "U9 rejection charged per record": (
        rules(numbers={"bucket_size": 1}, robust_rule="norm-bound", privacy=RECORD),
        "node sensitivity",
    ),
    "U10 dependent filter with central noise": (
        rules(numbers={"bucket_size": 1}, robust_rule="krum", robust_tolerance=1, privacy=NODE),
        "central noise",
    ),
    "U11 sketches with simulated evidence": (
        rules(numbers=SKETCHED, sketch=SketchRules(64, 4, 1), **(SKETCHES | {"disclosures": ("sketches",)})),
        "both sketches and simulated",
    ),
    "U11 single updates with simulated evidence": (
        rules(numbers={"bucket_size": 1}, disclosures=("single-updates",)),
        "both single-updates and simulated",
    ),
    "U12 sketch compresses too little": (
        rules(numbers=SKETCHED | {"parameters": 500}, sketch=SketchRules(64, 4, 1), **SKETCHES),
        "16-fold",
    ),
    "U12 sketch with a broken row": (
        rules(numbers=SKETCHED, sketch=SketchRules(66, 4, 1), **SKETCHES),
        "power of two",
    ),
    "U12 an undeclared sketch": (
        rules(numbers=SKETCHED, sketch=SketchRules(64, 4, 1), **(SKETCHES | {"disclosures": ()})),
        "must declare sketches",
    ),
    "U12 a sketch that nobody reads": (
        rules(numbers=SKETCHED, sketch=SketchRules(64, 4, 1), disclosures=("simulated", "sketches")),
        "for nothing",
    ),
    "U12 a sketch of counters": (
        rules(numbers={"parameters": 4096}, sketch=SketchRules(64, 4, 1), **SKETCHES),
        "no counters",
    ),
    "U12 a sketch in no round": (
        rules(numbers=SKETCHED, sketch=SketchRules(64, 4, 0), **SKETCHES),
        "how many",
    ),
    "U6 a sketch filter beyond its cohort": (
        rules(numbers=SKETCHED, sketch=SketchRules(64, 4, 1), **(SKETCHES | {"robust_tolerance": 3})),
        "tolerate 3",
    ),
    "U6 mixing before a plain mean": (rules(numbers={"bucket_size": 1}, mixing=1), "changes nothing"),
    "U6 centered clipping without a radius": (
        rules(numbers={"bucket_size": 1}, robust_rule="centered-clipping"),
        "radius",
    ),
    "U6 fednova under a robust rule": (
        rules(numbers={"bucket_size": 1, "steps_cap": 9}, strategy="fednova", robust_rule="median"),
        "claimed steps",
    ),
    "U10 mixing with central noise": (
        rules(
            numbers=PRIVATE | {"bucket_size": 1},
            robust_rule="trimmed-mean",
            robust_tolerance=1,
            mixing=1,
            privacy=NODE,
        ),
        "mixing chooses",
    ),
    "U13 counters beside a private model": (
        rules(numbers=PRIVATE | {"counters": 2}, privacy=NODE),
        "carries none",
    ),
    "U17 an alternative that nodes would have to know": (
        rules(numbers={"steps_cap": 9}, strategy="fednova", alternatives=("fedavg",)),
        "may follow one another",
    ),
    "U17 momentum of none": (rules(strategy="fedavgm"), "momentum"),
    "U17 Adam without a second moment": (
        rules(strategy="fedadam", server=ServerRules(1_000_000, 900_000, 0, 0)),
        "second moment",
    ),
    "U17 a server that stands still": (rules(server=ServerRules(0)), "learns nothing"),
    "U17 claimed steps without a cap": (rules(strategy="fednova"), "steps_cap"),
    "U17 a cap that nothing uses": (rules(numbers={"steps_cap": 9}), "steps_cap"),
    "U18 no epsilon": (rules(numbers=PRIVATE, privacy=replace(NODE, epsilon_thousandths=0)), "epsilon must"),
    "U18 a delta of a tenth": (rules(numbers=PRIVATE, privacy=replace(NODE, delta_exponent=1)), "delta must"),
    "U18 no release": (rules(numbers=PRIVATE, privacy=replace(NODE, releases=0)), "no release"),
    "U18 no noise": (rules(numbers=PRIVATE | {"noise_micro": 0}, privacy=NODE), "protects nobody"),
    "U18 noise for nothing": (rules(numbers={"noise_micro": 1}), "buys nothing"),
    "U18 private weights by rows": (
        rules(numbers=PRIVATE | {"weight_cap": 16}, privacy=NODE),
        "weight_cap 1",
    ),
    "U18 a private division by claims": (
        rules(numbers=PRIVATE | {"steps_cap": 9}, strategy="fednova", privacy=NODE),
        "fednova divides",
    ),
    "U18 records without a clip": (
        rules(numbers=PRIVATE, loss="discrete-hazard", privacy=replace(RECORD, record_clip_micro=0)),
        "record clip",
    ),
    "U18 records of no loss": (
        rules(numbers=PRIVATE, loss="policy-gradient", privacy=RECORD),
        "sum over records",
    ),
    "U18 sampled and charged per node": (
        rules(numbers=PRIVATE, loss="discrete-hazard", privacy=replace(RECORD, charge="node")),
        "nothing is gained",
    ),
    "U18 a node's own noise for the node": (
        rules(numbers=QUIET, loss="discrete-hazard", privacy=replace(AT_NODES, charge="node")),
        "charged for a record",
    ),
    "U18 noise at the nodes and once more": (
        rules(numbers=PRIVATE, loss="discrete-hazard", privacy=AT_NODES),
        "the enclave adds none",
    ),
    "U18 no local step": (
        rules(numbers=QUIET, loss="discrete-hazard", privacy=replace(AT_NODES, steps=0)),
        "1 or more",
    ),
    "U18 a local step almost bare": (
        rules(
            numbers=QUIET, loss="discrete-hazard", privacy=replace(AT_NODES, step_multiplier_micro=499_999)
        ),
        "at least half the record clip",
    ),
    "U18 local steps without noise": (
        rules(numbers=QUIET, loss="discrete-hazard", privacy=replace(AT_NODES, step_multiplier_micro=0)),
        "protects nobody",
    ),
    "U18 noise of steps that nobody takes": (
        rules(numbers=PRIVATE, loss="discrete-hazard", privacy=replace(RECORD, steps=5)),
        "belongs to noise at the nodes",
    ),
    "U8 local steps on the partial likelihood": (
        rules(numbers=QUIET, loss="cox-partial-likelihood", privacy=AT_NODES),
        "use the discrete hazard",
    ),
    "U18 a node in the sample": (
        rules(numbers=PRIVATE, privacy=replace(NODE, sampling_micro=500_000)),
        "belong to the unit record",
    ),
    "U19 a private bucket taken or left": (
        rules(
            numbers=PRIVATE | {"bucket_size": 2}, robust_rule="trimmed-mean", robust_tolerance=1, privacy=NODE
        ),
        "set enclave_clip",
    ),
    "U20 a plan that nobody can read": (rules(plan=b"?"), "cannot be read"),
    "U13 private sum of counters": (
        rules(numbers={"parameters": 0}, strategy="sum", privacy=NODE),
        "exact counters",
    ),
    "U13 sum with parameters": (rules(strategy="sum"), "exact counters"),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_an_unsound_combination_is_refused_with_its_reason(name):
    changed, reason = UNSOUND[name]
    found = reasons(policy(changed))
    assert any(reason in text and text.startswith("model: ") for text in found), found


@pytest.mark.parametrize("name", UNSOUND)
def test_a_signature_does_not_make_it_sound(name):
    changed, _ = UNSOUND[name]
    parties = make_parties(8)
    signed = sign_policy(parties.governor, replace(parties.policy, models=(changed,)))
    with pytest.raises((PolicyRefusal, PeerFault)) as caught:
        load_policy(signed, parties.governor, NOW)
    assert caught.value.code in (Refusal.UNSOUND_POLICY, Refusal.MALFORMED)


SOUND = {
    "whole cohort": rules(),
    "declared pairs": rules(numbers={"bucket_size": 2}),
    "declared single updates": rules(numbers={"bucket_size": 1}),
    "buckets of c + 3": rules(numbers={"bucket_size": 4}, disclosures=()),
    "declared sketches": rules(numbers=SKETCHED, sketch=SketchRules(64, 4, 1), **SKETCHES),
    "hazard with record privacy": rules(numbers=PRIVATE, loss="discrete-hazard", privacy=RECORD),
    "private local steps": rules(numbers=QUIET, loss="discrete-hazard", privacy=AT_NODES),
    "private local steps, then any filter": rules(
        numbers=QUIET | {"bucket_size": 1},
        loss="discrete-hazard",
        robust_rule="krum",
        robust_tolerance=1,
        privacy=AT_NODES,
    ),
    "node privacy": rules(numbers=PRIVATE, privacy=NODE),
    "a private trimmed mean, projected": rules(
        numbers=PRIVATE | {"bucket_size": 2},
        robust_rule="trimmed-mean",
        robust_tolerance=1,
        enclave_clip=1,
        privacy=NODE,
    ),
    "a dependent rule over noisy buckets": rules(
        numbers=PRIVATE | {"bucket_size": 1},
        robust_rule="geometric-median",
        robust_tolerance=1,
        mixing=1,
        privacy=replace(NODE, noise="buckets"),
    ),
    "adaptive strategies in turn": rules(
        alternatives=("fedadam", "fedavgm"), server=ServerRules(1_000_000, 900_000, 990_000, 1000)
    ),
    "fednova with a cap on steps": rules(numbers={"steps_cap": 10}, strategy="fednova"),
    "trimmed mean over buckets": rules(
        numbers={"bucket_size": 2}, robust_rule="trimmed-mean", robust_tolerance=1
    ),
    "twenty ring bits": rules(numbers={"ring_bits": 20, "value_bits": 12}),
    "a sum of counters": rules(numbers={"parameters": 0}, strategy="sum"),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_combinations_pass(name):
    assert reasons(policy(SOUND[name])) == []


def test_three_nodes_need_the_declared_weakness():
    assert reasons(make_parties(3).policy) == []


@pytest.mark.parametrize("column", ["node", "identity_key", "encryption_key"])
def test_u14_the_roster_has_nothing_twice(column):
    known = make_parties(6).policy
    first, second, *rest = known.roster
    doubled = replace(second, **{column: getattr(first, column)})
    found = reasons(replace(known, roster=(first, doubled, *rest)))
    assert any(column.replace("_", " ") in text and "twice" in text for text in found)


def test_u14_two_active_sites_of_one_organisation_do_not_train_one_model():
    known = make_parties(6).policy
    first, second, *rest = known.roster
    doubled = replace(second, organisation=first.organisation)
    found = reasons(replace(known, roster=(first, doubled, *rest)))
    assert any("an organisation counts once" in text for text in found)
    resting = replace(doubled, status="suspended")
    assert not any("counts once" in text for text in reasons(replace(known, roster=(first, resting, *rest))))


def test_u15_a_listed_node_that_may_not_join():
    known = make_parties(6).policy
    refused = replace(known, enrolment=replace(known.enrolment, kinds=("blood_bank",)))
    assert sum("may not join" in text for text in reasons(refused)) == 6


@pytest.mark.parametrize(
    "rules",
    [
        "permit (principal",
        'permit (principal, action == Action::"train", resource);',
        '@id("a") permit (principal, action == Action::"fly", resource);',
        '@id("a") permit (principal, action == Action::"train", resource) when { principal.statos == "x" };',
        '@id("a") permit (principal, action, resource);\n@id("a") forbid (principal, action, resource);',
        '@id("a") permit (principal == ?principal, action, resource);',
        '@id("a") permit (principal, action, resource) when { ' + "(" * 100 + "true" + ")" * 100 + " };",
    ],
    ids=["syntax", "no id", "no such action", "misspelt attribute", "id twice", "template", "brackets"],
)
def test_u16_access_rules_that_decide_nothing(rules):
    known = make_parties(6).policy
    found = reasons(replace(known, access=replace(known.access, policies=rules)))
    assert found
    assert all("access rules" in text for text in found)


def test_an_unsigned_policy_does_not_count():
    parties = make_parties(4)
    with pytest.raises(PeerFault):
        load_policy(parties.policy.to_bytes(), parties.governor, NOW)


def test_a_foreign_governor_is_refused():
    parties, foreign = make_parties(4), DualKey.fresh(entropy("foreign"))
    with pytest.raises(PeerFault) as caught:
        load_policy(sign_policy(foreign, parties.policy), parties.governor, NOW)
    assert caught.value.code is Refusal.POLICY_REJECTED
