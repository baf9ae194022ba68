"""Attacks on a linear Cox model of 67 dialysis units, aggregated over buckets by robust rules.

A fifth of the sites attack and do not clip. What counts is the concordance that an attack costs on the pooled
held-out rows, against plain averaging with nobody attacking, over seeds that draw split, buckets and attackers.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning.dialysis import Sites, claimed, dialysis_sites, round_numbers
from benchmarks.learning.open_rounds import Filter, Floats, Released, open_round
from crimson_node.learning.cox import CoxPlan
from crimson_node.member import Update
from crimson_protocol.cohort import corrupt_count
from crimson_protocol.fixed_point import clip_factor
from crimson_protocol.graph import buckets
from crimson_simulation.attacks.registry import DATA_ATTACKS, Attack
from crimson_simulation.attacks.update_attacks import within_spread

SHARE = (1, 5)
ROUNDS, QUICK_ROUNDS = 20, 4
PLAN = CoxPlan(steps=5, learning_rate=0.1, l2=0.01)
# About the median norm of an honest update here, where a gradient at a site is 0.5 to 0.8 long: standardised
# features, loss per event. Without an attack it costs nothing ("none" below).
CLIP = 0.6 * PLAN.learning_rate * PLAN.steps
# Of plain averaging: far beyond every honest update of this model.
WIDE = 8.0
SIZES = (2, 1)
# Attacks of this module beside those of the registry: ALIE at the deviation that trials commonly fix; sign flippers
# who claim as many rows as the policy lets anybody have; and attackers who know what the others in their bucket
# send, and take its mean to the edge. "Clipped" attackers clip what they send, so that no bound shows them.
FIXED_ALIE, HEAVY, BUCKET_EDGE = "alie at 1.5", "sign-flip, weight claimed", "edge of the bucket"
CLIPPED = {"clipped alie": "alie", "clipped alie at 1.5": FIXED_ALIE, "clipped min-max": "min-max"}
BEYOND = {FIXED_ALIE: "alie", HEAVY: "sign-flip", BUCKET_EDGE: "edge"}
DEVIATION = 1.5
GOALS: Mapping[str, float | None] = {
    "none": 0.01,
    "sign-flip": 0.01,
    HEAVY: None,
    "flip-at-bound": 0.01,
    "scaling": 0.01,
    "noise": 0.01,
    "inner-product": 0.01,
    "edge": None,
    BUCKET_EDGE: None,
    "alie": 0.03,
    FIXED_ALIE: 0.03,
    "min-max": 0.02,
    "clipped alie": 0.03,
    "clipped alie at 1.5": 0.03,
    "clipped min-max": 0.02,
    "label-flip": None,
}
# Goals are set for the rules after mixing, and for one attack for the geometric median alone.
RULES = {"bound alone": "norm-bound", "trimmed mean": "trimmed-mean", "geometric median": "geometric-median"}
GEOMETRIC_ONLY = ("flip-at-bound",)


@dataclass(frozen=True)
class Case:
    """One run: who attacks how, and how updates are aggregated. size: of a bucket, None for one of all sites."""

    attack: str
    size: int | None
    filtered: Filter
    clip: float
    rounds: int


def tolerated(sites: int) -> int:
    """How many sites may be bad: the share of SHARE, as the policy counts it."""
    return corrupt_count(sites, SHARE)


def rows(seeds: Sequence[int], quick: bool = False) -> list[dict[str, Any]]:
    """One row per attack, bucket size and rule: mean concordance, what it lost against clean, and the worst seed."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    return [_row(seeds, attack, size, name, rounds) for attack in GOALS for size, name in _aggregations()]


def _aggregations() -> Iterator[tuple[int | None, str]]:
    yield None, "plain mean"
    for size in SIZES:
        for name in RULES:
            yield size, name


def _row(seeds: Sequence[int], attack: str, size: int | None, name: str, rounds: int) -> dict[str, Any]:
    filtered, clip = Filter(), WIDE
    if size is not None:
        mixing = RULES[name] != "norm-bound"
        filtered, clip = Filter(RULES[name], tolerated(len(_sites(seeds[0]).rows)), mixing), CLIP
    clean = [trained(Case("none", None, Filter(), WIDE, rounds), seed) for seed in seeds]
    reached = [trained(Case(attack, size, filtered, clip, rounds), seed) for seed in seeds]
    concordance = np.array(
        [_sites(seed).concordance(theta) for theta, seed in zip(reached, seeds, strict=True)]
    )
    before = np.array([_sites(seed).concordance(theta) for theta, seed in zip(clean, seeds, strict=True)])
    moved = [np.linalg.norm(two - one) / np.linalg.norm(one) for one, two in zip(clean, reached, strict=True)]
    applies = filtered.mixing and (attack not in GEOMETRIC_ONLY or name == "geometric median")
    goal, loss = GOALS[attack] if applies else None, float((before - concordance).mean())
    return {
        "figure": "concordance under attack, dialysis, linear Cox",
        "attack": attack,
        "bucket size": size,
        "rule": f"mixing, {name}" if filtered.mixing else name,
        "concordance": round(float(concordance.mean()), 4),
        "loss": round(loss, 4),
        "worst loss": round(float((before - concordance).max()), 4),
        "coefficients moved": round(float(np.mean(moved)), 3),
        "goal": goal,
        "ok": goal is None or loss <= goal,
    }


@cache
def trained(case: Case, seed: int) -> Floats:
    """Coefficients (d,) after the case's rounds. The seed draws split, buckets, attackers and their chance."""
    sites = _sites(seed)
    numbers = round_numbers(sites, case.clip, case.size)
    drawn = hashlib.sha256(f"buckets/{seed}".encode()).digest()
    groups = buckets(drawn, range(len(sites.rows)), case.size)
    kind = CLIPPED.get(case.attack, case.attack)
    attack = Attack(BEYOND.get(kind, kind), SHARE[0] / SHARE[1])
    attackers = () if kind == "none" else attack.sites(len(sites.rows), seed)
    poisoned = attack.on_rows(sites.rows, attackers, seed)
    dither = np.random.default_rng([seed, 1])
    model = Released.initial(sites.parameters)
    for number in range(1, case.rounds + 1):
        sent = sites.trained(model.parameters, PLAN, poisoned)
        if kind == FIXED_ALIE:
            sent = _fixed_alie(sent, attackers, case.clip)
        elif attackers:
            sent = attack.on_updates(sent, attackers, case.clip, seed, number)
        if kind == HEAVY:
            sent = claimed(sent, attackers, sites.weight_cap)
        elif kind == BUCKET_EDGE:
            sent = _to_the_edge(sent, groups, attackers, case.clip)
        # Who poisons only its rows runs an honest node.
        unclipped = () if case.attack in CLIPPED or kind in DATA_ATTACKS else attackers
        totals = open_round(numbers, groups, sent, partial(_fill, dither), unclipped)
        model = model.after(totals, case.filtered)
    return model.parameters


def _fixed_alie(trained: Mapping[int, Update], attackers: Sequence[int], clip: float) -> dict[int, Update]:
    honest = [_clipped(update.parameters, clip) for node, update in trained.items() if node not in attackers]
    (row,) = within_spread(np.array(honest), np.empty((1, 0)), DEVIATION)
    poisoned = {node: replace(trained[node], parameters=row.astype(np.float32)) for node in attackers}
    return {**trained, **poisoned}


def _to_the_edge(
    sent: Mapping[int, Update], groups: Sequence[Sequence[int]], attackers: Sequence[int], clip: float
) -> dict[int, Update]:
    """The updates, with one attacker of each bucket making up for what the honest ones in it add: the bucket's mean
    is then the attackers' common update."""
    changed = dict(sent)
    for group in groups:
        weighty = [node for node in group if node in attackers and sent[node].weight]
        if weighty:
            first, aim = weighty[0], sent[weighty[0]].parameters
            missing = [sent[node].weight * (aim - _clipped(sent[node].parameters, clip)) for node in group]
            row = aim + np.sum(missing, axis=0) / sent[first].weight
            changed[first] = replace(sent[first], parameters=row.astype(np.float32))
    return changed


def _clipped(update: NDArray[np.float32], clip: float) -> Floats:
    """As an honest node encodes it, and as attackers at the edge have it anyway."""
    return update * np.float64(clip_factor(update, clip))


def _fill(dither: np.random.Generator, view: memoryview) -> None:
    view[:] = dither.bytes(len(view))


@cache
def _sites(seed: int) -> Sites:
    return dialysis_sites(seed)
