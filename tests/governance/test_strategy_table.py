"""docs/strategies.md walks every strategy, visibility, robust rule and kind of privacy: and the code agrees."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
from tests.governance.sources import HAZARD, NOW, SourceFolder, model, node

from crimson_enclave.aggregation.private import Noise, draw, noisy_mean, on_opened
from crimson_enclave.aggregation.values import bounded
from crimson_enclave.totals import BucketTotal, Totals
from crimson_governance.budgets import noise_to_signal
from crimson_governance.compiler import compile_source
from crimson_governance.source.folder import read_source
from crimson_protocol.layout import Layout
from crimson_protocol.policy import document
from crimson_protocol.policy.document import MICRO, ModelRules, Policy, ServerRules, SketchRules
from crimson_protocol.policy.plan import MAX_PLAN, TrainingPlan
from crimson_protocol.policy.privacy import adjacency, multiplier_micro, sensitivity_micro, with_noise
from crimson_protocol.policy.privacy_rules import PrivacyRules
from crimson_protocol.policy.soundness import RULES, knobs_out_of_range, reasons

PAGE = (Path(__file__).parents[2] / "docs/strategies.md").read_text()
NODES, TOLERANCE, RECORD_CLIP, CLIP, DIVISOR = 24, 1, 2, 8, 100
SIZES = {"one sum": None, "buckets": 4, "small buckets": 2, "single updates": 1, "sketches": None}
PRIVACY = (
    "none",
    "node",
    "record",
    "record by node",
    "node on buckets",
    "record on buckets",
    "record at nodes",
)
MEANS = ("fedavg", "fedprox", "fedavgm", "fedadam", "fedyogi")
COMPARING = ("trimmed-mean", "median", "geometric-median", "krum", "multi-krum", "centered-clipping")
Rule = tuple[str, bool]
RULE_GROUPS: dict[str, list[Rule]] = {
    "none": [("none", False)],
    "norm-bound": [("norm-bound", False)],
    "trimmed-mean": [("trimmed-mean", False)],
    "median": [("median", False)],
    "ordering": [("trimmed-mean", False), ("median", False)],
    "mixed ordering": [("trimmed-mean", True), ("median", True)],
    "centring": [
        (name, mixed) for name in ("geometric-median", "centered-clipping") for mixed in (False, True)
    ],
    "nearest": [(name, mixed) for name in ("krum", "multi-krum") for mixed in (False, True)],
    "sketch-filter": [("sketch-filter", False)],
}
EVERY_RULE = [
    ("none", False),
    ("norm-bound", False),
    ("sketch-filter", False),
    *product(COMPARING, (False, True)),
]


@dataclass(frozen=True)
class Row:
    """One line of the table, its groups spelled out."""

    strategies: frozenset[str]
    sights: frozenset[str]
    rules: frozenset[Rule]
    privacy: frozenset[str]
    verdict: str
    text: str
    mean: str

    def fits(self, strategy: str, sight: str, rule: Rule, privacy: str) -> bool:
        return (
            strategy in self.strategies
            and sight in self.sights
            and rule in self.rules
            and privacy in self.privacy
        )


def meant(cell: str, groups: dict[str, list], every: list) -> frozenset:
    """The values of a cell: any, all but one, or a list of groups."""
    if cell == "any":
        return frozenset(every)
    if cell.startswith("not "):
        return frozenset(every) - frozenset(groups[cell.removeprefix("not ")])
    return frozenset(value for name in cell.split(", ") for value in groups[name])


@cache
def table() -> tuple[Row, ...]:
    part = PAGE.split("<!-- walked by", 1)[1].split("\n\n", 2)[1]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines()[2:]]
    strategies = {name: [name] for name in document.STRATEGIES} | {"mean strategies": list(MEANS)}
    same = {name: [name] for name in (*SIZES, *PRIVACY)}
    return tuple(
        Row(
            meant(line[0], strategies, list(document.STRATEGIES)),
            meant(line[1], same, list(SIZES)),
            meant(line[2], RULE_GROUPS, EVERY_RULE),
            meant(line[3], same, list(PRIVACY)),
            *line[4:],
        )
        for line in lines
    )


def combinations() -> Iterator[tuple[str, str, Rule, str]]:
    return product(document.STRATEGIES, SIZES, EVERY_RULE, PRIVACY)


def expected(*combination) -> Row:
    return next(row for row in table() if row.fits(*combination))


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> Policy:
    """A sound policy of 24 sites, whose model the combinations change: a network, which sketches can compress."""
    source = SourceFolder(tmp_path_factory.mktemp("table") / "policies")
    source.nodes = [node(f"site-{index}") for index in range(NODES)]
    network = {**HAZARD, "hidden": [300], "losses": False}
    numbers = {"min_cohort": 7, "weight_cap": 1, "clip": CLIP, "value_bits": 20}
    source.models = [model(plan=network, numbers=numbers)]
    found = compile_source(read_source(source.write().folder), 1, NOW).policy
    assert reasons(found) == []
    return found


def rules_of(policy: Policy, strategy: str, sight: str, rule: Rule, privacy: str) -> ModelRules:
    """The model with everything set that a combination needs besides."""
    (base,) = policy.models
    plan, size = TrainingPlan.from_bytes(base.plan, MAX_PLAN), SIZES[sight]
    if strategy == "sum":
        plan = replace(plan, task="moments", steps=0, learning_rate_micro=0, cuts_micro=(), hidden=())
    if strategy == "fedprox":
        plan = replace(plan, proximal_micro=1000)
    shown = {1: "single-updates", 2: "small-buckets"}.get(size) or (
        "sketches" if sight == "sketches" else None
    )
    moments = (MICRO, 900_000, 990_000, 1000, 0)
    numbers = replace(
        base.numbers,
        parameters=plan.parameters,
        counters=plan.counters,
        bucket_size=size,
        steps_cap=9 if strategy == "fednova" else 0,
    )
    found = replace(
        base,
        strategy=strategy,
        loss="none" if strategy == "sum" else base.loss,
        robust_rule=rule[0],
        robust_tolerance=0 if rule[0] in ("none", "norm-bound") else TOLERANCE,
        mixing=int(rule[1]),
        radius_micro=MICRO if rule[0] == "centered-clipping" else 0,
        enclave_clip=int(privacy != "none" and size in (2, 4)),
        server=ServerRules(*moments) if strategy in ("fedavgm", "fedadam", "fedyogi") else ServerRules(),
        numbers=numbers,
        sketch=SketchRules(64, 4, 1) if sight == "sketches" else None,
        privacy=privacy_of(privacy, plan.steps),
        disclosures=tuple(sorted({"simulated", shown} - {None})),
        plan=plan.to_bytes(),
    )
    if found.privacy is None:
        return found
    return with_noise(found, 2 * MICRO)


def privacy_of(words: str, steps: int) -> PrivacyRules | None:
    if words == "none":
        return None
    unit = words.split(maxsplit=1)[0]
    record, by_node = unit == "record", words.endswith("by node")
    where = {"on buckets": "buckets", "at nodes": "nodes"}.get(words.removeprefix(unit).strip(), "release")
    return PrivacyRules(
        unit=unit,
        epsilon_thousandths=8000,
        delta_exponent=3,
        sampling_micro=100_000 if record and not by_node else MICRO,
        record_clip_micro=RECORD_CLIP * MICRO if record else 0,
        divisor=DIVISOR if record else 0,
        releases=1,
        noise=where,
        charge="node" if by_node else unit,
        steps=steps if where == "nodes" else 1,
    )


def first_number(policy: Policy, rules: ModelRules, reason: str) -> str:
    """The number of the first rule with a reason, which must be the reason that is told first."""
    for rule in (knobs_out_of_range, *RULES):
        for found in rule(policy, rules):
            assert reason == f"{rules.model}: {found}"
            return re.match(r"U\d+", rule.__doc__)[0]
    raise AssertionError(reason)


def judged(policy: Policy, several: list[ModelRules]) -> tuple[Policy, list[list[str]]]:
    """A policy with all these models, and the reasons against each."""
    named = [replace(rules, model=f"model-{place:03d}") for place, rules in enumerate(several)]
    changed = replace(policy, models=tuple(named))
    told = reasons(changed)
    each = [[reason for reason in told if reason.startswith(f"{rules.model}: ")] for rules in named]
    assert sum(map(len, each)) == len(told)
    return changed, each


def test_the_page_says_how_many_combinations_there_are():
    assert f"all {len(list(combinations())):,} combinations" in PAGE


def test_the_code_agrees_with_every_line_in_every_combination(policy):
    met: Counter[Row] = Counter()
    for strategy, sight in product(document.STRATEGIES, SIZES):
        rest = list(product(EVERY_RULE, PRIVACY))
        changed, told = judged(policy, [rules_of(policy, strategy, sight, *pair) for pair in rest])
        for rules, found, pair in zip(changed.models, told, rest, strict=True):
            row = expected(strategy, sight, *pair)
            met[row] += 1
            if row.verdict == "sound":
                assert found == [], (strategy, sight, *pair)
            else:
                assert found and row.text in found[0], (strategy, sight, *pair, found)
                assert first_number(changed, rules, found[0]) == row.verdict, (strategy, sight, *pair)
    assert set(met) == set(table()), "a line that nothing fits"


def value(text: str, rules: ModelRules) -> float:
    """An expression of the page, with the table's own numbers."""
    size = rules.numbers.bucket_size or NODES
    buckets = NODES // size
    known = {
        "d": rules.numbers.parameters,
        "v": rules.numbers.value_bits,
        "C": CLIP,
        "r": RECORD_CLIP,
        "m": DIVISOR,
        "n": NODES,
        "s": size,
        "B": buckets,
        "f": rules.robust_tolerance,
        "k": buckets - 2 * ((buckets - 1) // 2),
    }
    code = text.replace("√d", "sqrt(d)").replace("·", "*").replace("−", "-").replace("^", "**")
    return eval(code, {"__builtins__": {}, "sqrt": sqrt}, known)


def private_combinations(policy: Policy) -> Iterator[tuple[Row, ModelRules]]:
    """Each line that is private in the enclave with its rules, one strategy for all that share the line."""
    for sight, rule, privacy in product(SIZES, EVERY_RULE, PRIVACY):
        row = expected("fedavg", sight, rule, privacy)
        if row.verdict == "sound" and privacy not in ("none", "record at nodes"):
            yield row, rules_of(policy, "fedavg", sight, rule, privacy)


def test_the_sensitivities_are_those_that_the_noise_is_measured_against(policy):
    seen = set()
    for row, rules in private_combinations(policy):
        in_quanta = sensitivity_micro(rules) / MICRO
        assert in_quanta == pytest.approx(value(row.text, rules), abs=3e-6)
        assert adjacency(rules.privacy) == ("zero-out" if row.text.startswith("2^v") else "add-remove")
        seen.add(row.text)
    assert len(seen) == 4


def test_the_strategies_that_share_a_line_share_its_sensitivity(policy):
    for privacy in set(PRIVACY) - {"none", "record at nodes"}:
        each = {
            sensitivity_micro(rules_of(policy, name, "buckets", ("trimmed-mean", False), privacy))
            for name in MEANS
        }
        assert len(each) == 1


def test_noise_at_the_nodes_goes_with_all_that_goes_without_privacy(policy):
    """Whatever is made of updates that are private already, a record moves its own step by its clip, and the enclave
    adds nothing."""
    for sight, rule in product(SIZES, EVERY_RULE):
        bare, row = (expected("fedavg", sight, rule, privacy) for privacy in ("none", "record at nodes"))
        assert row.verdict == ("U10" if bare.verdict == "sound" and sight == "sketches" else bare.verdict)
        if row.verdict == "sound":
            rules = rules_of(policy, "fedavg", sight, rule, "record at nodes")
            assert value(row.text.removesuffix(" in each local step"), rules) == RECORD_CLIP
            assert (multiplier_micro(rules), rules.numbers.noise_micro) == (2 * MICRO, 0)
            assert draw(rules, [1], bytes) is None
            # U19 asks nothing of it either.
            _, told = judged(policy, [replace(rules, enclave_clip=0)])
            assert told == [[]], row


def central(policy: Policy) -> Iterator[tuple[Row, ModelRules]]:
    """The private lines with one draw of noise, on what the rule returns; one coordinate."""
    for row, rules in private_combinations(policy):
        if rules.privacy.noise == "release":
            yield row, replace(rules, numbers=replace(rules.numbers, parameters=1))


def released(rules: ModelRules, sums: np.ndarray, noise: int = 0) -> float:
    """What the enclave's own arithmetic makes of full buckets with these sums (B,), in the unit of the update."""
    numbers, each = rules.numbers, NODES // len(sums)
    buckets = [
        BucketTotal(tuple(range(start, start + each)), np.empty(0, np.uint32))
        for start in range(0, NODES, each)
    ]
    drawn = draw(rules, [each] * len(sums), np.random.default_rng(1).bytes)
    known = Noise(np.full_like(drawn.rows, noise), drawn.scale)
    opened = [np.array([value]) for value in sums]
    if on_opened(rules):
        # Then the noise is in the sum already when it is divided.
        opened[0] = opened[0] + noise
    mean = noisy_mean(rules, Totals(Layout(numbers), buckets), opened, known)
    share = NODES / DIVISOR if rules.privacy.unit == "record" else 1.0
    return float(mean[0]) * share * CLIP / 2**numbers.value_bits


def test_the_mean_moves_as_far_as_the_page_says_and_no_further(policy):
    """One unit is taken out of each bucket in turn, whatever the buckets before it hold."""
    for row, rules in central(policy):
        buckets = NODES // (rules.numbers.bucket_size or NODES)
        unit = (CLIP if adjacency(rules.privacy) == "zero-out" else RECORD_CLIP) << rules.numbers.value_bits
        moved = 0.0
        for higher in range(buckets):
            without = np.where(np.arange(buckets) < higher, unit // CLIP, 0)
            with_it = without + np.where(np.arange(buckets) == higher, unit // CLIP, 0)
            moved = max(moved, abs(released(rules, with_it) - released(rules, without)))
        assert moved == pytest.approx(value(row.mean, rules)), row


def test_the_noise_that_governors_are_shown_is_what_reaches_the_mean(policy):
    """A draw of so many quanta on the sum comes out as the share of it that `noise_share` tells."""
    for _, rules in central(policy):
        buckets = NODES // (rules.numbers.bucket_size or NODES)
        deviation = rules.numbers.noise_micro / MICRO
        quanta = round(deviation * 2**rules.numbers.value_bits / CLIP)
        on_mean = released(rules, np.zeros(buckets, np.int64), quanta)
        bound = RECORD_CLIP if rules.privacy.unit == "record" else CLIP
        assert noise_to_signal(rules, rules.privacy, NODES) == pytest.approx(on_mean / bound, rel=1e-5)


def test_buckets_with_privacy_are_shortened(policy):
    """U19, which the table's own settings avoid."""
    lines = list(private_combinations(policy))
    _, told = judged(policy, [replace(rules, enclave_clip=0) for _, rules in lines])
    for (row, rules), found in zip(lines, told, strict=True):
        needed = rules.enclave_clip and (
            rules.privacy.noise == "release" or rules.robust_rule == "norm-bound"
        )
        assert any("set enclave_clip" in reason for reason in found) is bool(needed), row


def test_a_bucket_beyond_the_bound_counts_once_where_it_is_left_out(policy):
    """Why: two nodes of one bucket, one of whom cheats; leaving the other out moves the sum by both their shares."""
    rules = rules_of(policy, "fedavg", "small buckets", ("norm-bound", False), "node on buckets")
    rules = replace(rules, numbers=replace(rules.numbers, parameters=1, counters=0))
    one = 1 << rules.numbers.value_bits

    def sum_of(*updates: int) -> int:
        layout = Layout(rules.numbers)
        words = np.zeros(layout.length, np.uint32)
        layout.write(words, 0, np.array([sum(updates)], np.int64).astype(np.uint32))
        (found,) = bounded(rules, Totals(layout, [BucketTotal((0, 1), words)]))
        return int(found[0])

    shortened = abs(sum_of(2 * one, one) - sum_of(2 * one, 0))
    assert shortened <= sensitivity_micro(rules) / MICRO
    rules = replace(rules, enclave_clip=0)
    assert abs(sum_of(2 * one, one) - sum_of(2 * one, 0)) == 2 * one > sensitivity_micro(rules) / MICRO
