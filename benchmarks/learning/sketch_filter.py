"""What the sketch filter catches, and what an attack costs with it: 60 sites, a fifth of them attackers.

Sites train networks of 21,000 to 27,000 parameters, encode their updates, and sketch them in 256 buckets under a new
seed each round, as nodes do. Masks cancel bit for bit, so the sums here are those of the secure path; updates are
added in float64. Thresholds of the filter were chosen on the first three tasks, one seed each, and raised once after
lower ones had flagged more honest sites on light chains than on those. After digits, where the spectrum had flagged
lone sites of one or two digits, those far out must also move the mean; after admissions, where a turning model had
hidden manipulated inner products, directions are also compared with this round's. Tumours were measured when all that
stood.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.learning.sketch_tasks import (
    SITES,
    Task,
    admissions,
    dialysis,
    digits,
    drives,
    light_chains,
    shifted_classes,
    tumours,
)
from crimson_enclave.filters.sketch_filter import flag
from crimson_protocol.sketch import sketch
from crimson_simulation.attacks.registry import UPDATE_ATTACKS, Attack

SHARE = 0.2
BUCKETS = 256
VALUE_BITS = 16
ROUNDS, QUICK_ROUNDS = 20, 4
TASKS: Mapping[str, Callable[[int], Task]] = {
    "classes": shifted_classes,
    "dialysis": dialysis,
    "drives": drives,
    "light chains": light_chains,
    "digits": digits,
    "admissions": admissions,
    "tumours": tumours,
}
JUST_INSIDE = "just-inside"
OBVIOUS = ("sign-flip", "scaling", "noise", "inner-product")
ADAPTIVE = ("flip-at-bound", "edge", JUST_INSIDE)
HIDDEN = ("alie", "min-max")
FILTERED, PLAIN, BOUNDED, ALONE = "sketch filter", "plain mean", "norm-bounded mean", "honest sites alone"
# Bisections of the attackers who know the filter: how far they may go is found to a hundredth of the bound.
_BISECTIONS = 7
Reals = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """How a run ended: the error on held-out rows, and which shares of attackers and of honest sites were out."""

    error: float
    attackers_out: float
    honest_out: float


def rows(seeds: Sequence[int], quick: bool = False) -> list[dict[str, Any]]:
    """One row per task and attack. Damage is the error beside that of the honest sites alone: a ratio for the task
    whose error is a rate, a difference in concordance for the others; so is what it is without the filter."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    attacks = ("none", *OBVIOUS, *ADAPTIVE, *HIDDEN)
    return [row(task, attack, seeds, rounds) for task in TASKS for attack in attacks]


def row(task: str, attack: str, seeds: Sequence[int], rounds: int) -> dict[str, Any]:
    """The row of one task and attack, mean over seeds, with its goal and whether it holds."""
    other = BOUNDED if attack in ADAPTIVE else PLAIN
    filtered = [run(task, attack, FILTERED, seed, rounds) for seed in seeds]
    without = [run(task, attack, other, seed, rounds).error for seed in seeds]
    alone = [run(task, "none", ALONE, seed, rounds).error for seed in seeds]
    relative = _task(task, seeds[0]).relative
    errors = [one.error for one in filtered]

    def damages(reached: Sequence[float]) -> list[float]:
        return [a / b if relative else a - b for a, b in zip(reached, alone, strict=True)]

    found = {
        "figure": f"damage by attackers, {task}, sketch filter",
        "attack": attack,
        "unit": "error / clean" if relative else "concordance lost",
        "damage": round(float(np.mean(damages(errors))), 4),
        "worst seed": round(max(damages(errors)), 4),
        "without filter": round(float(np.mean(damages(without))), 4),
        "instead": other,
        "attackers out": round(float(np.mean([one.attackers_out for one in filtered])), 4),
        "honest out": round(float(np.mean([one.honest_out for one in filtered])), 4),
    }
    # Where an attack happens to help the plain mean, a filter that keeps the attackers out cannot follow it.
    beside = max(np.mean(without), np.mean(alone)) if attack in HIDDEN else np.mean(without)
    goal, holds = _judged(attack, relative, found, float(np.mean(errors) - beside))
    return {**found, "goal": goal, "ok": holds}


def _judged(attack: str, relative: bool, found: Mapping[str, Any], worse: float) -> tuple[str, bool]:
    """The goal in words and whether it holds. worse: by how much the error is above that without the filter."""
    few_honest = found["honest out"] <= 0.01
    if attack in OBVIOUS:
        most, unit = (1.05, "times clean") if relative else (0.005, "lost")
        holds = found["damage"] <= most and found["attackers out"] >= 0.95 and few_honest
        return f"attackers out >= 95 %, honest <= 1 %, {most} {unit}", bool(holds)
    if attack in ADAPTIVE:
        return "error of the norm-bounded mean + 0.02", worse <= 0.02
    if attack in HIDDEN:
        return "error of the plain mean, or of the honest sites alone, + 0.01", worse <= 0.01
    return "honest out <= 1 %", bool(few_honest)


@cache
def run(name: str, attack: str, defence: str, seed: int, rounds: int) -> Run:
    """One run. The seed draws data, first model, attackers and their chance, and the sketches' seeds."""
    task, chance = _task(name, seed), np.random.default_rng([seed, 9])
    bad = np.array(Attack("noise", SHARE).sites(SITES, seed))
    good = np.setdiff1d(np.arange(SITES), bad)
    parameters, last, out = task.initial(seed), None, np.zeros(SITES)
    for _ in range(rounds):
        updates = _bounded(task.updates(parameters), task.bound)
        if attack != "none":
            updates[bad] = _attack(attack, updates[good], updates[bad], task.bound, last, chance)
        accepted = np.ones(SITES, bool)
        match defence:
            case "norm-bounded mean":
                updates = _bounded(updates, task.bound)
            case "honest sites alone":
                accepted[bad] = False
            case "sketch filter":
                accepted[list(_flagged(updates, task.bound, len(bad), last, chance.bytes(32)))] = False
        out += ~accepted
        last = np.average(updates[accepted], axis=0, weights=task.weights[accepted])
        parameters = parameters + last
    return Run(task.test_error(parameters), float(out[bad].mean()) / rounds, float(out[good].mean()) / rounds)


def _bounded(updates: Reals, bound: float) -> Reals:
    lengths = np.linalg.norm(updates, axis=1, keepdims=True)
    return updates * np.minimum(1.0, bound / np.maximum(lengths, np.finfo(float).tiny))


def _sketches(updates: Reals, bound: float, seed: bytes) -> Reals:
    """Sketches (n, BUCKETS) of encoded updates, back in the update's unit."""
    quantum = bound / 2**VALUE_BITS
    lanes = np.rint(updates / quantum).astype(np.int64)
    return np.stack([sketch(row, seed, BUCKETS) for row in lanes]) * quantum


def _flagged(updates: Reals, bound: float, tolerance: int, last: Reals | None, seed: bytes) -> dict[int, str]:
    learnt = None if last is None else _sketches(last[None], bound, seed)[0]
    return flag(_sketches(updates, bound, seed), bound, tolerance, learnt)


def _attack(
    attack: str, honest: Reals, own: Reals, bound: float, last: Reals | None, chance: np.random.Generator
) -> Reals:
    if attack == JUST_INSIDE:
        return _just_inside(honest, own, bound, last, chance)
    return UPDATE_ATTACKS[attack](honest, own, bound, chance)


def _just_inside(
    honest: Reals, own: Reals, bound: float, last: Reals | None, chance: np.random.Generator
) -> Reals:
    """Own updates moved against the honest mean, as far as the filter lets all attackers pass.

    The attackers know every honest update and the filter; only the round's sketch seed comes after they submit.
    """
    against, seed = honest.mean(axis=0), chance.bytes(32)
    against = -against * bound / np.linalg.norm(against)
    learnt = None if last is None else _sketches(last[None], bound, seed)[0]
    beside = _sketches(honest, bound, seed)
    passed, failed = 0.0, 2.0
    for _ in range(_BISECTIONS):
        middle = (passed + failed) / 2
        moved = _sketches(_bounded(own + middle * against, 0.99 * bound), bound, seed)
        found = flag(np.concatenate([beside, moved]), bound, len(own), learnt)
        caught = any(place >= len(honest) for place in found)
        passed, failed = (passed, middle) if caught else (middle, failed)
    return _bounded(own + passed * against, 0.99 * bound)


@cache
def _task(name: str, seed: int) -> Task:
    torch.set_num_threads(1)
    return TASKS[name](seed)
