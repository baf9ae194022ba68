"""Crimson's robust rules beside those of byzfl 0.0.11 on random inputs: `python -m benchmarks.oracles.byzfl_rules`.

Run in .venv-oracles. byzfl's parent package loads its training framework, and with it torchvision; its aggregators
need neither, so they are loaded with the parent left out.

byzfl's GeometricMedian takes T steps from zero and replaces distances below nu by nu. Compared with T and nu that leave
no smoothing; with its defaults (nu 0.1, T 3) it is another point, and the difference is reported.
"""

import importlib
import importlib.util
import json
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from crimson_enclave.robust import combine
from crimson_enclave.robust.mixing import mixed
from crimson_enclave.robust.tolerance import most_tolerated

Floats = NDArray[np.float64]
Made = Callable[[Floats, int], Floats]

AGREEMENT = 1e-6
SHAPES = ((5, 3), (9, 40), (20, 1000), (67, 39), (128, 5000))
FAR = (1.0, 30.0, 1e4)
SEEDS = range(5)
RADIUS = 2.0


@dataclass(frozen=True)
class Difference:
    """Largest difference in any coordinate over all cases, where honest vectors have a spread of one.

    agrees: within AGREEMENT, or None where the two are not the same point by definition.
    """

    rule: str
    cases: int
    largest: float
    agrees: bool | None


def aggregators() -> types.ModuleType:
    """byzfl.aggregators without byzfl/__init__.py."""
    found = importlib.util.find_spec("byzfl")
    if found is None or found.submodule_search_locations is None:
        raise SystemExit("byzfl is not installed here; this script runs in .venv-oracles")
    parent = types.ModuleType("byzfl")
    parent.__path__ = list(found.submodule_search_locations)
    sys.modules["byzfl"] = parent
    return importlib.import_module("byzfl.aggregators")


def inputs() -> Iterator[tuple[Floats, int]]:
    """(values, bad ones among them): normal vectors with an offset, the bad ones anywhere up to very far off."""
    for seed in SEEDS:
        for count, length in SHAPES:
            random = np.random.default_rng((seed, count))
            for far in FAR:
                bad = int(random.integers(0, most_tolerated("krum", count) + 1))
                values = random.normal(size=(count, length)) + random.normal(size=length)
                values[random.permutation(count)[:bad]] += far * random.normal(size=length)
                yield values, bad


def ours(rule: str, mixing: bool = False) -> Made:
    """Our rule by its policy name."""
    return lambda values, bad: combine(values, rule, bad, mixing, None, RADIUS)


def pairs(theirs: types.ModuleType) -> dict[str, tuple[Made, Made]]:
    """By rule: ours and theirs."""
    both: dict[str, tuple[Made, Made]] = {
        "Average": (
            lambda values, _: combine(values, "none", 0, False, None, 0.0),
            lambda values, _: theirs.Average()(values),
        ),
        "Median": (ours("median"), lambda values, _: theirs.Median()(values)),
        "TrMean": (ours("trimmed-mean"), lambda values, bad: theirs.TrMean(bad)(values)),
        "Krum": (ours("krum"), lambda values, bad: theirs.Krum(bad)(values)),
        "MultiKrum": (ours("multi-krum"), lambda values, bad: theirs.MultiKrum(bad)(values)),
        "CenteredClipping": (
            ours("centered-clipping"),
            lambda values, _: theirs.CenteredClipping(L=1, tau=RADIUS)(values),
        ),
        "GeometricMedian": (
            ours("geometric-median"),
            lambda values, _: theirs.GeometricMedian(nu=1e-12, T=2000)(values),
        ),
        "NNM": (all_mixed, lambda values, bad: theirs.NNM(bad)(values)),
    }
    for name, rule in (("TrMean", "trimmed-mean"), ("Krum", "krum"), ("MultiKrum", "multi-krum")):
        both[f"NNM, {name}"] = (ours(rule, mixing=True), after_mixing(theirs, getattr(theirs, name)))
    return both


def all_mixed(values: Floats, bad: int) -> Floats:
    """The vectors themselves after nearest-neighbour mixing."""
    return np.concatenate([block for _, _, block in mixed(values, bad).blocks()], axis=1)


def after_mixing(theirs: types.ModuleType, rule: Callable[[int], Callable[[Floats], Floats]]) -> Made:
    """Their rule on what their mixing makes."""
    return lambda values, bad: rule(bad)(theirs.NNM(bad)(values))


def compared() -> Iterator[Difference]:
    """Every rule on every input it can be compared on."""
    theirs = aggregators()
    made = pairs(theirs)
    for name, (own, other) in made.items():
        # Their distances of one geometric median cost M·d a step: the longest vectors are left to the other rules.
        cases = [case for case in inputs() if name != "GeometricMedian" or case[0].shape[1] <= 1000]
        largest = max(float(np.abs(own(*case) - other(*case)).max()) for case in cases)
        yield Difference(name, len(cases), largest, largest <= AGREEMENT)
    cases = [case for case in inputs() if case[0].shape[1] <= 1000]
    own = made["GeometricMedian"][0]
    largest = max(float(np.abs(own(*case) - theirs.GeometricMedian()(case[0])).max()) for case in cases)
    yield Difference("GeometricMedian, its defaults (smoothed)", len(cases), largest, None)


def main() -> int:
    """Print one line per rule; 1 where any differs."""
    differences = list(compared())
    for difference in differences:
        print(json.dumps(asdict(difference)))
    return 0 if all(difference.agrees is not False for difference in differences) else 1


if __name__ == "__main__":
    sys.exit(main())
