"""A source means one policy: the same bytes on every machine, however its keys are ordered."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.governance.sources import NOW, SourceFolder, dumped, federation, model, node

from crimson_enclave.strategies import AVAILABLE
from crimson_governance.compiler import DAY, artifacts_of, compile_source
from crimson_governance.outcome import BadSource
from crimson_governance.source.folder import read_source
from crimson_governance.vocabulary import STRATEGIES_THAT_RUN
from crimson_node.learning.contribution import counters_of
from crimson_node.learning.plan import TrainingPlan as NodePlan
from crimson_node.learning.scoring import lane_names
from crimson_protocol.artifact import MAX_ARTIFACT, Artifact
from crimson_protocol.policy.document import MAX_POLICY, Policy
from crimson_protocol.policy.plan import MAX_PLAN, Levels, TrainingPlan
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
}


@pytest.mark.parametrize("task", ["moments", "cox", "cox-score"])
def test_governors_and_nodes_count_the_same_lanes(task):
    plan, node_plan = TrainingPlan(task=task, **PLAN), NodePlan(task=task, **PLAN)
    assert plan.counters == counters_of(node_plan)
    assert plan.dimension == node_plan.declaration.dimension == len(node_plan.declaration.feature_names)
    assert plan.columns == node_plan.declaration.columns
    assert plan.parameters == (plan.dimension if task == "cox" else 0)
    assert plan.to_bytes() == node_plan.to_bytes()
    assert NodePlan.from_bytes(plan.to_bytes(), MAX_PLAN) == node_plan
    if task == "cox-score":
        assert plan.counters == len(lane_names(node_plan.grid))


def test_lint_knows_which_strategies_an_enclave_runs():
    assert set(AVAILABLE) == STRATEGIES_THAT_RUN


def test_a_node_is_never_forgotten(source):
    source.nodes = [node("a"), node("b", status="revoked")]
    source.models = []
    assert [entry.status for entry in compiled(source).policy.roster] == ["active", "revoked"]
