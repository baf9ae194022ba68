"""What governors are told of noise that every site adds in every local step: its length, its cost, for whom."""

import os
from dataclasses import replace

import numpy as np
import pytest
from tests.governance.sources import NOW, RECORD, SourceFolder, private, run
from tests.governance.test_policy_commands import delta_warnings, sentences

from crimson_governance.accounting import cost, event_of
from crimson_governance.budgets import noise_to_signal
from crimson_governance.compiler import compile_source
from crimson_governance.source.folder import read_source
from crimson_node.learning.local_steps import LocalPlan
from crimson_node.learning.private_steps import private_steps
from crimson_protocol.policy.document import ModelRules

AT_NODES = {**RECORD, "sampling": 1, "noise": "nodes", "releases": 4}
SITES, STEPS, RATE, LANES = 6, 5, 0.25, 1000


def rules_of(source: SourceFolder, **changes: object) -> ModelRules:
    source.models = [private({**AT_NODES, **changes}, plan={"steps": STEPS})]
    return compile_source(read_source(source.write().folder), 1, NOW).policy.models[0]


def noise_of_sites(rules: ModelRules) -> np.ndarray:
    """What the node's own code makes of records without any slope, site by site (SITES, LANES)."""
    plan, start = LocalPlan(STEPS, RATE), np.zeros(LANES)

    def slopes_at(_):
        return lambda places: np.zeros((len(places), LANES))

    return np.stack(
        [private_steps(start, slopes_at, 0, plan, rules.privacy, os.urandom) for _ in range(SITES)]
    )


def test_the_noise_that_governors_are_shown_is_what_sites_add(source):
    """Beside all that the records of a site can do in all its steps. 1,000 lanes: 0.12 is more than five deviations."""
    rules = rules_of(source, record_clip=2)
    rules = replace(rules, numbers=replace(rules.numbers, parameters=LANES))
    signal, noise = STEPS * RATE * 2, noise_of_sites(rules)
    on_mean = np.linalg.norm(noise.mean(axis=0)) / signal
    assert noise_to_signal(rules, rules.privacy, SITES) == pytest.approx(on_mean, rel=0.12)
    # A rule that compares means of two sees their noise.
    pairs = replace(rules, robust_rule="median", numbers=replace(rules.numbers, bucket_size=2))
    of_two = np.linalg.norm(noise[:2].mean(axis=0)) / signal
    assert noise_to_signal(pairs, pairs.privacy, SITES) == pytest.approx(of_two, rel=0.12)


def test_a_release_costs_what_its_steps_cost_one_by_one(source):
    rules = rules_of(source)
    single = replace(rules, privacy=replace(rules.privacy, steps=1))
    assert event_of(rules) == event_of(single)
    assert cost(rules, 3) == cost(single, 3 * STEPS) > cost(single, 3)


def test_explain_tells_what_every_site_adds_and_that_each_step_is_charged(source, capfd):
    rules_of(source)
    found = " ".join(sentences(run(capfd, "explain", source.folder))["Model model"])
    for part in (
        "A round takes 5 steps with learning rate 1 and l2 0.",
        "takes part in a local step with probability 1, secretly",
        "a site's sum is divided by 100",
        "Noise is added by every site in every local step, 2.685546 times what one record can do",
        "A release takes 5 local steps, and each of them is charged",
        "protected from the enclave too",
    ):
        assert part in found, part
    assert "in the enclave, over the sites' summed slopes" not in found


def test_delta_is_held_against_the_records_of_all_sites(source, capfd):
    """The divisor is one site's: 16,666 records each at six sites are just below 100,000."""
    rules_of(source, divisor=16_666)
    assert not delta_warnings(run(capfd, "lint", source.folder))
    rules_of(source, divisor=16_667)
    (warning,) = delta_warnings(run(capfd, "lint", source.folder))
    assert "is not below 1 in 100002, the records that it protects" in warning


def test_noise_that_drowns_every_update_is_warned_of(source, capfd):
    rules_of(source, divisor=1)
    answer = run(capfd, "lint", source.folder)
    assert answer.code == 0
    assert any("times as long as an update can be" in text for text in answer.envelope["warnings"])
