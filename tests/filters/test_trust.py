"""Trust: Bayes' rule by enumeration, limits of each kind of evidence, and liars who are found by regrouping."""

from itertools import product
from math import exp, prod
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from crimson_protocol.errors import CallerFault
from crimson_protocol.graph import buckets
from crimson_protocol.refusal import Refusal
from crimson_protocol.sketch import equal_modulo, sketch
from crimson_protocol.trust import (
    ABSENT_LIMIT,
    BUCKET_RULE,
    FLAG_LIMIT,
    GROUPS,
    PASS_LIMIT,
    SKETCH_SUM,
    Conduct,
    GroupTest,
    posterior,
)
from crimson_simulation.attacks.sketch_liars import carried_liars, naive_liars

SITES, GROUP, RING_BITS = 60, 5, 32


def exact(nodes: int, tests: list[GroupTest], prior: float) -> list[float]:
    """Posterior by adding up over all 2^nodes ways to be bad."""
    weight = np.zeros(nodes)
    total = 0.0
    for bad in product([False, True], repeat=nodes):
        chance = prod(prior if one else 1 - prior for one in bad)
        for test in tests:
            likelihood = GROUPS[test.test]
            spoiled = any(bad[node] for node in test.nodes)
            fails = likelihood.if_bad if spoiled else likelihood.if_honest
            chance *= fails if test.failed else 1 - fails
        total += chance
        weight += chance * np.array(bad)
    return list(weight / total)


def strangers(nodes: int) -> dict[int, Conduct]:
    return {node: Conduct() for node in range(nodes)}


def test_without_evidence_it_is_the_prior() -> None:
    assert posterior(strangers(3), prior=0.2) == pytest.approx(dict.fromkeys(range(3), 0.2))


@pytest.mark.parametrize("failed", [False, True])
@pytest.mark.parametrize("test", [SKETCH_SUM, BUCKET_RULE])
def test_one_group_is_bayes_rule(failed: bool, test: str) -> None:
    tests = [GroupTest((0, 1, 3), test, failed)]
    assert list(posterior(strangers(5), tests, 0.1).values()) == pytest.approx(exact(5, tests, 0.1), abs=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_groupings_that_form_no_cycle_are_solved_exactly(seed: int) -> None:
    rng = Random(seed)
    chain = [(0, 1, 2), (2, 3, 4), (4, 5), (5, 6, 7), (2, 8)]
    tests = [GroupTest(nodes, rng.choice([SKETCH_SUM, BUCKET_RULE]), rng.random() < 0.5) for nodes in chain]
    found = posterior(strangers(9), tests, 0.2)
    assert list(found.values()) == pytest.approx(exact(9, tests, 0.2), abs=1e-6)
    rng.shuffle(tests)
    assert posterior(strangers(9), tests, 0.2) == pytest.approx(found, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_with_cycles_it_is_close(seed: int) -> None:
    rng = Random(seed)
    bad, tests = set(rng.sample(range(12), 2)), []
    for _ in range(3):
        order = rng.sample(range(12), 12)
        groups = [tuple(order[at : at + 4]) for at in range(0, 12, 4)]
        tests += [GroupTest(nodes, SKETCH_SUM, bool(bad & set(nodes))) for nodes in groups]
    found, truth = posterior(strangers(12), tests, 0.15), exact(12, tests, 0.15)
    assert max(abs(found[node] - truth[node]) for node in range(12)) < 0.15
    assert all((found[node] > 0.5) == (truth[node] > 0.5) for node in range(12))


def test_only_a_conviction_is_certain() -> None:
    found = posterior({0: Conduct(convicted=True), 1: Conduct(flagged=10_000, absent=10_000)}, prior=0.5)
    assert found[0] == 1.0
    assert found[1] < 1.0


def test_a_convicted_member_explains_its_group() -> None:
    tests = [GroupTest((0, 1, 2), SKETCH_SUM, True)]
    alone = posterior(strangers(3), tests)
    explained = posterior({**strangers(3), 0: Conduct(convicted=True)}, tests)
    assert alone[1] > 0.3
    assert explained[1] == pytest.approx(0.05, abs=1e-3)


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 10_000), st.floats(0.01, 0.5))
def test_no_kind_of_evidence_outgrows_its_limit(flagged: int, passed: int, absent: int, prior: float) -> None:
    found = posterior({0: Conduct(flagged, passed, absent)}, prior=prior)[0]
    odds = prior / (1 - prior)
    low, high = odds * exp(PASS_LIMIT), odds * exp(FLAG_LIMIT + ABSENT_LIMIT)
    assert low / (1 + low) * (1 - 1e-9) <= found <= high / (1 + high) * (1 + 1e-9)


def test_evidence_points_the_right_way() -> None:
    shown = {
        0: Conduct(),
        1: Conduct(flagged=1),
        2: Conduct(passed=1),
        3: Conduct(absent=1),
        4: Conduct(flagged=9),
    }
    found = posterior(shown)
    assert found[2] < found[0] < found[3] < found[1] < found[4] < 0.9
    # A hundred good rounds do not outweigh what comes after for ever: flags still move the score.
    assert posterior({0: Conduct(flagged=40, passed=100)})[0] > 0.5
    # One absence in a prior of a half: odds of 6 to 5.
    assert posterior({0: Conduct(absent=1)}, prior=0.5)[0] == pytest.approx(6 / 11)
    # One flag: 0.5 against 0.02 on odds of 1 to 19.
    assert posterior({0: Conduct(flagged=1)})[0] == pytest.approx(25 / 44)


def regrouped(seed: int, bad: set[int], epochs: int, carriers: int = 0) -> list[GroupTest]:
    """Epochs of sketched rounds in which the bad submit one thing and sketch another; which sums fail is computed."""
    rng, tests = np.random.default_rng(seed), []
    liars = sorted(bad)
    for _ in range(epochs):
        honest = rng.integers(-1000, 1000, (SITES, 200))
        submitted, sketched = honest.copy(), honest.copy()
        submitted[liars] *= -5
        lies = naive_liars(honest[liars], submitted[liars])
        if carriers:
            lies = carried_liars(honest[liars], submitted[liars], carriers)
        sketched[liars] = lies
        key = rng.bytes(32)
        said = np.stack([sketch(row, key, 64) for row in sketched])
        # Over the whole cohort carriers hide the lie; over groups they would have to sit in every one.
        assert equal_modulo(said.sum(axis=0), sketch(submitted.sum(axis=0), key, 64), RING_BITS) == bool(
            carriers
        )
        for group in buckets(rng.bytes(32), range(SITES), GROUP):
            members = list(group)
            opened = sketch(submitted[members].sum(axis=0), key, 64)
            equal = equal_modulo(said[members].sum(axis=0), opened, RING_BITS)
            assert equal == (not bad & set(group))
            tests.append(GroupTest(group, SKETCH_SUM, not equal))
    return tests


def auc(found: dict[int, float], bad: set[int]) -> float:
    return float(roc_auc_score([node in bad for node in found], list(found.values())))


@pytest.mark.parametrize("seed", range(5))
def test_one_persistent_liar_is_named_within_six_regroupings(seed: int) -> None:
    liar = Random(seed).randrange(SITES)
    found = posterior(strangers(SITES), regrouped(seed, {liar}, 6))
    assert found[liar] > 0.99
    assert max(score for node, score in found.items() if node != liar) < 0.05


@pytest.mark.parametrize("carriers", [0, 4])
def test_a_fifth_of_colluding_liars_is_ranked_first_after_six_regroupings(carriers: int) -> None:
    scores = []
    for seed in range(10):
        bad = set(Random(seed).sample(range(SITES), 12))
        scores.append(auc(posterior(strangers(SITES), regrouped(seed, bad, 6, carriers), 0.2), bad))
    assert np.mean(scores) >= 0.99


@given(st.sets(st.integers(0, 9), min_size=1, max_size=4), st.booleans(), st.floats(0.01, 0.5))
@settings(max_examples=50)
def test_a_failed_group_never_clears_and_a_good_one_never_blames(
    members: set[int], failed: bool, prior: float
) -> None:
    found = posterior(strangers(10), [GroupTest(tuple(members), SKETCH_SUM, failed)], prior)
    for node, score in found.items():
        if node not in members:
            assert score == pytest.approx(prior)
        else:
            assert (score > prior) == failed


def test_callers_mistakes() -> None:
    nodes = strangers(3)
    for prior in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(CallerFault):
            posterior(nodes, prior=prior)
    for unfit in ((), (1, 1)):
        with pytest.raises(CallerFault) as refused:
            posterior(nodes, [GroupTest(unfit, SKETCH_SUM, True)])
        assert refused.value.code is Refusal.MALFORMED
    with pytest.raises(CallerFault) as refused:
        posterior(nodes, [GroupTest((1, 7), SKETCH_SUM, True)])
    assert refused.value.code is Refusal.UNKNOWN_NODE
    with pytest.raises(CallerFault):
        posterior(nodes, [GroupTest((1, 2), "gossip", True)])
    with pytest.raises(CallerFault):
        posterior({0: Conduct(flagged=-1)})
