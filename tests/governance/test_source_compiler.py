"""A source means one policy: the same bytes on every machine, however its keys are ordered."""

import hashlib
import random
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import sqrt

import cbor2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, uniform
from tests.governance.sources import (
    HAZARD,
    NODE,
    NOW,
    RECORD,
    Plain,
    SourceFolder,
    dumped,
    federation,
    model,
    node,
    private,
)

from crimson_enclave.privacy.accountant import multiplier_for
from crimson_governance.accounting import afforded, cost
from crimson_governance.changes.of_policy import Edition
from crimson_governance.compiler import DAY, artifacts_of, compile_source
from crimson_governance.linting import lint
from crimson_governance.outcome import BadSource
from crimson_governance.parties import parties_of
from crimson_governance.source.folder import read_source
from crimson_governance.vocabulary import ROBUST_RULES, STRATEGIES, TASKS
from crimson_node.learning.plan import TrainingPlan as NodePlan
from crimson_node.learning.scoring import lane_names
from crimson_protocol.artifact import MAX_ARTIFACT, Artifact
from crimson_protocol.policy import document
from crimson_protocol.policy import plan as plan_module
from crimson_protocol.policy.document import MAX_POLICY, Policy
from crimson_protocol.policy.plan import MAX_PLAN, Levels, Range, TrainingPlan
from crimson_protocol.policy.privacy import multiplier_micro
from crimson_protocol.transcript import model_digest


def compiled(source: SourceFolder, serial: int = 1, now: int = NOW):
    return compile_source(read_source(source.write().folder), serial, now)


def test_the_policy_says_what_the_source_says(source):
    policy = compiled(source).policy
    assert (policy.federation, policy.serial, policy.expires) == ("north", 1, NOW + 90 * DAY)
    assert [entry.node for entry in policy.roster] == [f"site-{index}" for index in range(6)]
    numbers = policy.models[0].numbers
    assert (numbers.clip_micro, numbers.corrupt, numbers.dropout) == (8_000_000, (1, 5), (1, 10))
    assert (numbers.parameters, numbers.counters, numbers.bucket_size) == (3, 2, None)
    plan = TrainingPlan.from_bytes(policy.models[0].plan, MAX_PLAN)
    assert (plan.learning_rate_micro, plan.dimension) == (500_000, 3)
    assert policy.access.policies == source.access and policy.access.schema == source.schema
    assert policy.operators[0].roles == ("backend", "rounds")
    assert policy.enrolment.kinds == ("blood_bank", "hospital")
    assert Policy.from_bytes(policy.to_bytes(), MAX_POLICY) == policy


def test_an_end_by_date_does_not_depend_on_the_clock(source):
    source.federation = {**federation(), "expires": "2030-01-01"}
    del source.federation["lifetime_days"]
    assert compiled(source).policy == compiled(source, now=NOW + 5).policy


def shuffled(values: object, draw: random.Random) -> object:
    """The same values with the keys of every mapping in another order."""
    if isinstance(values, dict):
        items = [(key, shuffled(item, draw)) for key, item in values.items()]
        draw.shuffle(items)
        return dict(items)
    return [shuffled(item, draw) for item in values] if isinstance(values, list) else values


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(st.integers(0, 2**32))
def test_the_order_of_keys_and_of_unordered_lists_means_nothing(source, seed):
    expected = compiled(source).policy.to_bytes()
    draw = random.Random(seed)
    source.federation = shuffled(source.federation, draw)
    for place in (source.federation["governors"], source.federation["enrolment"]["kinds"]):
        draw.shuffle(place)
    source.nodes = shuffled(source.nodes, draw)
    source.models = shuffled(source.models, draw)
    assert compiled(source).policy.to_bytes() == expected


def test_layout_comments_and_quotes_mean_nothing(source):
    expected = compiled(source).policy.to_bytes()
    text = "# a comment\n\nfederation: 'north'\n" + "".join(
        f"{key}:   {dumped(value)}   # why\n\n" for key, value in federation().items() if key != "federation"
    )
    (source.folder / "federation.yaml").write_text(text)
    assert compile_source(read_source(source.folder), 1, NOW).policy.to_bytes() == expected


def test_the_order_of_nodes_and_of_columns_means_something(source):
    expected = compiled(source).policy
    source.nodes = source.nodes[::-1]
    assert compiled(source).policy != expected
    source.nodes = source.nodes[::-1]
    source.models = [model(plan={"numeric": ["dose", "age"]})]
    assert compiled(source).policy != expected


def test_models_start_from_zeros_of_their_own_or_their_bases_dimension(source):
    score = model(
        model="model.score", strategy="sum", base="model", plan={"task": "cox-score", "grid": [30, 90]}
    )
    source.models = [model(), score, model(model="model.moments", strategy="sum", plan={"task": "moments"})]
    found = compiled(source)
    starts = {rules.model: found.artifacts[rules.initial_digest] for rules in found.policy.models}
    assert starts["model"] == starts["model.score"]
    assert np.array_equal(Artifact.from_bytes(starts["model"], MAX_ARTIFACT).vector(), np.zeros(3))
    assert Artifact.from_bytes(starts["model.moments"], MAX_ARTIFACT).parameters == b""
    assert all(model_digest(data) == digest for digest, data in found.artifacts.items())
    assert artifacts_of(found.policy) == dict(found.artifacts)


def test_artifacts_of_a_policy_that_starts_elsewhere_are_not_made_up(source):
    policy = compiled(source).policy
    other = replace(policy, models=(replace(policy.models[0], initial_digest=bytes(32)),))
    with pytest.raises(BadSource):
        artifacts_of(other)


PLAN = {
    "time_column": "days",
    "event_column": "died",
    "numeric": ("age", "dose"),
    "categorical": (Levels("sex", ("female", "male")), Levels("group", ("0", "A", "B"))),
    "steps": 5,
    "learning_rate_micro": 500_000,
    "l2_micro": 0,
    "weights": "rows",
    "scale_model": "m",
    "grid_micro": (1_000_000, 2_500_000, 4_000_000),
    "cuts_micro": (2_000_000, 5_000_000),
}


@pytest.mark.parametrize("task", ["moments", "cox", "cox-score", "hazard", "hazard-score"])
def test_governors_and_nodes_count_the_same_lanes(task):
    plan, node_plan = TrainingPlan(task=task, **PLAN), NodePlan(task=task, **PLAN)
    assert plan.dimension == node_plan.declaration.dimension == len(node_plan.declaration.feature_names)
    assert plan.columns == node_plan.declaration.columns
    lanes = {"cox": plan.dimension, "hazard": plan.dimension + 2}
    assert plan.parameters == lanes.get(task, 0)
    if task == "hazard":
        assert plan.parameters == node_plan.hazard.parameters
    assert plan.to_bytes() == node_plan.to_bytes()
    assert NodePlan.from_bytes(plan.to_bytes(), MAX_PLAN) == node_plan
    if task.endswith("-score"):
        assert plan.counters == len(lane_names(node_plan.grid))


def test_there_are_words_for_everything_that_a_policy_may_name():
    assert set(STRATEGIES) == set(document.STRATEGIES)
    assert set(ROBUST_RULES) == set(document.ROBUST_RULES)
    assert set(TASKS) == set(plan_module.TASKS)


def network(name: str = "model", hidden: tuple[int, ...] = (16, 8), **changes: object) -> dict:
    return private(NODE, model=name, plan={"hidden": list(hidden), **changes.pop("plan", {})}, **changes)


def start(found, name: str = "model") -> np.ndarray:
    (rules,) = [rules for rules in found.policy.models if rules.model == name]
    return Artifact.from_bytes(found.artifacts[rules.initial_digest], MAX_ARTIFACT).vector()


def test_a_network_starts_from_a_public_seed_and_by_its_name(source):
    source.models = [network(), network("other")]
    found = compiled(source)
    first, second = start(found), start(found, "other")
    assert first.size == (3 + 1) * 16 + (16 + 1) * 8 + (8 + 1) * 3
    assert not np.array_equal(first, second)
    assert np.array_equal(start(compiled(source, now=NOW + 5)), first)
    assert artifacts_of(found.policy) == dict(found.artifacts)


def test_the_start_of_a_network_is_what_a_second_implementation_computes(source):
    """By exact fractions, weight by weight, instead of in floating point."""
    source.models = [network()]
    widths, expected = [3, 16, 8, 3], []
    for layer, (inputs, outputs) in enumerate(pairwise(widths)):
        seed = cbor2.dumps(["crimson/1/initial", "model", widths, layer], canonical=True)
        stream = hashlib.shake_256(seed).digest(8 * inputs * outputs)
        for place in range(inputs * outputs):
            drawn = int.from_bytes(stream[8 * place : 8 * place + 8], "little") >> 11
            even = Fraction(drawn, 1 << 52) - 1
            expected.append(float(even) * sqrt(6 / (inputs + outputs)))
        expected += [0.0] * outputs
    assert np.array_equal(start(compiled(source)), np.array(expected, np.float32))


def test_the_start_of_a_network_is_spread_as_the_nodes_own(source):
    source.models = [network(hidden=(256, 64), plan={"numeric": [f"x{index}" for index in range(40)]})]
    found = compiled(source)
    values = start(found)
    plan = NodePlan.from_bytes(found.policy.models[0].plan, MAX_PLAN)
    layer = values[: 41 * 256]
    bound = sqrt(6 / (41 + 256))
    assert np.abs(layer).max() <= bound
    assert kstest(layer, uniform(-bound, 2 * bound).cdf).pvalue > 1e-3
    node_values = plan.hazard.initial(np.random.default_rng(1).bytes)
    assert np.array_equal(values == 0, node_values == 0)
    assert np.std(values) == pytest.approx(np.std(node_values), rel=0.02)


def test_a_linear_hazard_starts_at_zeros_and_its_score_from_the_same(source):
    score = {"task": "hazard-score", "grid": [30], "learning_rate": 0, "steps": 0}
    source.models = [
        network(hidden=()),
        model(model="score", strategy="sum", base="model", plan={**HAZARD, **score}),
    ]
    found = compiled(source)
    assert np.array_equal(start(found), np.zeros(3 + 3))
    assert found.policy.models[1].initial_digest == found.policy.models[0].initial_digest


def test_the_noise_that_follows_from_releases_is_the_least_but_for_a_thousandth(source):
    source.models = [private({**NODE, "releases": 25})]
    rules = compiled(source).policy.models[0]
    assert multiplier_micro(rules) >= multiplier_for(8000, 1e-3, 1_000_000, 25)
    assert afforded(rules) == 25 and cost(rules, 25) <= 8000 < cost(rules, 26)
    less = replace(rules, numbers=replace(rules.numbers, noise_micro=rules.numbers.noise_micro * 998 // 1000))
    assert cost(less, 25) > 8000


def test_noise_at_the_nodes_is_computed_for_every_local_step(source):
    at_nodes = {**RECORD, "sampling": 1, "noise": "nodes", "releases": 4}
    source.models = [private(at_nodes, plan={"steps": 5})]
    rules = compiled(source).policy.models[0]
    assert (rules.numbers.noise_micro, rules.privacy.steps) == (0, 5)
    assert multiplier_micro(rules) == multiplier_for(8000, 1e-5, 1_000_000, 4 * 5)
    assert afforded(rules) == 4 and cost(rules, 4) <= 8000 < cost(rules, 5)
    # Where the least noise is too little to be drawn well, there is more of it.
    source.models = [private({**at_nodes, "epsilon": 100, "releases": 1}, plan={"steps": 5})]
    assert multiplier_micro(compiled(source).policy.models[0]) == 500_000
    written = {**at_nodes, "step_noise": 10, "releases": None}
    source.models = [private(written, plan={"steps": 5})]
    rules = compiled(source).policy.models[0]
    assert multiplier_micro(rules) == 10_000_000
    assert rules.privacy.releases == afforded(rules) > 1


def test_the_releases_that_follow_from_noise_are_the_most(source):
    source.models = [private({**NODE, "releases": ...}, numbers={"noise": 30})]
    del source.models[0]["privacy"]["releases"]
    rules = compiled(source).policy.models[0]
    assert rules.numbers.noise_micro == 30_000_000
    assert rules.privacy.releases == afforded(rules) > 1
    assert cost(rules, rules.privacy.releases) <= 8000 < cost(rules, rules.privacy.releases + 1)


def test_a_policy_with_too_little_noise_is_unsound_whoever_compiled_it(source):
    """U21: a bundle that others made is held to it as well."""
    source.models = [private(NODE)]
    read = read_source(source.write().folder)
    policy = compile_source(read, 1, NOW).policy
    assert not lint(Edition("sound", policy, parties_of(read)), NOW).reasons
    rules = policy.models[0]
    greedy = replace(rules, privacy=replace(rules.privacy, releases=11))
    edition = Edition("greedy", replace(policy, models=(greedy,)), parties_of(read))
    (reason,) = lint(edition, NOW).reasons
    assert reason.startswith("model: 11 releases cost epsilon 8.") and reason.endswith("affords 10")


def test_the_new_settings_arrive(source):
    source.federation["regrouping"] = 3
    source.models = [
        model(
            strategy="fedyogi",
            alternatives=["fedavgm", "fedavg"],
            robust={"rule": "centered-clipping", "tolerance": 1, "mixing": True, "radius": Plain("0.5")},
            server={
                "rate": 2,
                "momentum": Plain("0.9"),
                "second_moment": Plain("0.99"),
                "adaptivity": Plain("0.001"),
                "decay": Plain("0.01"),
            },
            numbers={"steps_cap": 12, "noise": 4},
            sketch={"buckets": 64, "every": 5},
            plan={
                **HAZARD,
                "batch": 16,
                "proximal": Plain("0.1"),
                "momentum": Plain("0.5"),
                "ranges": [{"low": Plain("-0.5"), "high": 1}, {"low": 0, "high": 2}],
                "losses": False,
            },
        )
    ]
    policy = compiled(source).policy
    rules = policy.models[0]
    assert policy.regrouping == 3
    assert (rules.alternatives, rules.loss, rules.mixing) == (("fedavg", "fedavgm"), "discrete-hazard", 1)
    assert rules.server == document.ServerRules(2_000_000, 900_000, 990_000, 1_000, 10_000)
    assert (rules.radius_micro, rules.numbers.steps_cap, rules.numbers.noise_micro) == (
        500_000,
        12,
        4_000_000,
    )
    assert rules.sketch == document.SketchRules(64, 4, 5)
    plan = TrainingPlan.from_bytes(rules.plan, MAX_PLAN)
    assert (plan.batch, plan.proximal_micro, plan.momentum_micro) == (16, 100_000, 500_000)
    assert plan.cuts_micro == (30_000_000, 90_000_000, 365_000_000)
    assert plan.ranges == (Range(-500_000, 1_000_000), Range(0, 2_000_000))
    assert rules.numbers.counters == plan.counters == 0


def test_a_node_is_never_forgotten(source):
    source.nodes = [node("a"), node("b", status="revoked")]
    source.models = []
    assert [entry.status for entry in compiled(source).policy.roster] == ["active", "revoked"]
