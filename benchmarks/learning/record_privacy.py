"""What record-level privacy costs a discrete-time hazard: concordance on held-out rows, beside the same without it.

A step is the product's own sampling, clipping and slopes; sums over sites are exact there, so one site that holds
all rows stands for any number of them, and noise is drawn once on the sum, here in plain arithmetic. Settings were
chosen on dialysis patients alone (`--choose`), on as few rows as the smaller study has; ranges, horizons and counts
are declared, not computed.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import polars as pl
from sksurv.metrics import concordance_index_censored

from benchmarks.learning.data import data_file
from crimson_enclave.privacy.accountant import multiplier_for
from crimson_node.data.rows import Floats, SurvivalRows
from crimson_node.data.table import survival_rows
from crimson_node.learning.hazard import HazardModel
from crimson_node.learning.ranges import scaled_by_ranges
from crimson_node.learning.record_privacy import MICRO, Places, private_change
from crimson_simulation.dataset import read_pooled

STEPS, QUICK_STEPS, SAMPLING_MICRO, DELTA = 200, 20, 100_000, 1e-5
SPLITS, QUICK_SPLITS = 20, 2
FEWER_ROWS, CHOICES = 870, 12
NO_PRIVACY, CLIP_ALONE = "none", "sampled and clipped, no noise"
Privacy = int | str
"""An epsilon at DELTA, or one of the two names above."""


@dataclass(frozen=True)
class Settings:
    """How a hazard is trained. spacing: exponent of the bins' ends, 1 even, 2 even in the square root of time."""

    rate: float = 1.0
    l2: float = 0.0
    clip: float = 1.0
    spacing: float = 1.0
    bins: int = 12


@dataclass(frozen=True)
class Study:
    """A data set, and what its federation would declare.

    ranges: by numeric column; others hold 0 or 1 and have (-1, 1), which leaves them as they are, like a level of a
    coded column. horizon: in the file's unit of time. rows: training rows that are expected.
    """

    name: str
    file: tuple[str, str]
    roles: tuple[str, str, str, str | None]
    ranges: Mapping[str, tuple[float, float]]
    horizon: float
    rows: int


TCGA = Study(
    name="TCGA-BRCA",
    file=("fed-tcga-brca", "tcga_by_site.csv"),
    roles=("site", "T", "E", "split"),
    ranges={"age_at_index": (0.0, 100.0)},
    horizon=3652.5,
    rows=870,
)
DIALYSIS = Study(
    name="dialysis",
    file=("dialysis-67-centres", "dialysis.csv"),
    roles=("center", "time", "event", None),
    ranges={"age": (0.0, 100.0), "begin": (0.0, 48.0)},
    horizon=48.0,
    rows=4800,
)


def load(study: Study, seed: int | None) -> SurvivalRows:
    """All rows, scaled by the declared ranges; 30 % of each site held out by the seed, or as the file says."""
    path, (site, time, event, split) = data_file(*study.file), study.roles
    named = pl.read_csv(path, n_rows=0).columns
    pooled = read_pooled(
        path,
        site_column=site,
        split_column=split if seed is None else None,
        time_column=time,
        event_column=event,
        features=[name for name in named if name not in {*study.roles, "pid"}],
        seed=seed or 0,
    )
    together = SurvivalRows.together(survival_rows(one.table(), pooled.declaration) for one in pooled.sites)
    return scaled_by_ranges(
        together, [study.ranges.get(name, (-1.0, 1.0)) for name in pooled.declaration.numeric]
    )


@cache
def multiplier(epsilon: int) -> float:
    """Noise over clip with which STEPS sampled steps cost at most epsilon, by the product's accountant."""
    return multiplier_for(1000 * epsilon, DELTA, SAMPLING_MICRO, STEPS) / MICRO


def concordance(
    study: Study, rows: SurvivalRows, privacy: Privacy, seed: int, settings: Settings, steps: int
) -> float:
    """Harrell's concordance on the held-out rows, with the sample and the noise of this seed."""
    ends = (np.arange(1, settings.bins + 1) / settings.bins) ** settings.spacing
    model = HazardModel(rows.features.shape[1], study.horizon * ends)
    theta = trained(model, rows.training(), privacy, np.random.default_rng(seed), settings, steps, study.rows)
    held_out = rows.held_out()
    return float(
        concordance_index_censored(held_out.event, held_out.time, model.risk(theta, held_out.features))[0]
    )


def trained(
    model: HazardModel,
    training: SurvivalRows,
    privacy: Privacy,
    chance: np.random.Generator,
    settings: Settings,
    steps: int,
    expected: int,
) -> Floats:
    """Parameters after `steps` steps from zeros; without privacy each takes every row as it is."""
    theta = np.zeros(model.parameters)
    divisor = expected * SAMPLING_MICRO / MICRO
    sigma = 0.0 if isinstance(privacy, str) else multiplier(privacy) * settings.clip
    for _ in range(steps):
        if privacy == NO_PRIVACY:
            theta = theta - settings.rate * model.gradient(theta, training, settings.l2)
            continue
        slopes = _slopes(model, theta, training, settings.l2)
        change = private_change(
            slopes, len(training), model.parameters, settings.clip, SAMPLING_MICRO, chance.bytes
        )
        theta = theta + settings.rate * (change + sigma * chance.normal(size=model.parameters)) / divisor
    return theta


def _slopes(
    model: HazardModel, theta: Floats, training: SurvivalRows, l2: float
) -> Callable[[Places], Floats]:
    return lambda places: model.record_gradients(theta, training.at(places), l2)


def rows(seeds: Sequence[int], quick: bool = False) -> list[dict[str, Any]]:
    """Concordance with and without privacy: on the published split, on random splits, and of many small sites."""
    steps, splits = (QUICK_STEPS, range(QUICK_SPLITS)) if quick else (STEPS, range(SPLITS))
    levels: tuple[Privacy, ...] = (NO_PRIVACY, CLIP_ALONE, 8, 4, 2, 1)
    published = [(None, seed) for seed in seeds]
    drawn, few = [(seed, seed) for seed in splits], [(seed, seed) for seed in seeds]
    found = list(_table(TCGA, "published split", published, levels, steps, least={8: 0.82, 4: 0.80}))
    found += _table(TCGA, "random splits", drawn, levels, steps, most={8: 0.02, 4: 0.03})
    return [*found, *_table(DIALYSIS, "random splits", few, levels, steps, most={2: 0.005})]


def _table(
    study: Study,
    splits: str,
    runs: Sequence[tuple[int | None, int]],
    levels: Iterable[Privacy],
    steps: int,
    least: Mapping[Privacy, float] | None = None,
    most: Mapping[Privacy, float] | None = None,
) -> Iterator[dict[str, Any]]:
    """One row per level over runs (split, seed). least: concordance asked for; most: what it may lose to none."""
    least, most = least or {}, most or {}
    data = {split: load(study, split) for split, _ in runs}
    reached = {
        level: np.array(
            [concordance(study, data[split], level, seed, Settings(), steps) for split, seed in runs]
        )
        for level in (NO_PRIVACY, *levels)
    }
    for level in levels:
        values, lost = reached[level], reached[NO_PRIVACY] - reached[level]
        asked = [f"C >= {least[level]}"] if level in least else []
        asked += [f"lost <= {most[level]}"] if level in most else []
        yield {
            "figure": f"record-level privacy, {study.name}, {splits}, linear hazard, {len(runs)} runs",
            "epsilon": level,
            "noise over clip": None if isinstance(level, str) else round(multiplier(level), 3),
            "concordance": round(float(values.mean()), 4),
            "sd": round(float(values.std(ddof=1)), 4) if len(values) > 1 else None,
            "lost": round(float(lost.mean()), 4),
            "goal": ", ".join(asked) or None,
            "ok": bool(values.mean() >= least.get(level, 0.0) and lost.mean() <= most.get(level, 1.0)),
        }


def choose() -> Iterator[tuple[Settings, float, float]]:
    """Settings with their mean concordance at epsilon 8 and 4 on dialysis patients, cut to FEWER_ROWS training rows."""
    data = [_cut(load(DIALYSIS, seed), seed) for seed in range(CHOICES)]
    fewer = Study(DIALYSIS.name, DIALYSIS.file, DIALYSIS.roles, DIALYSIS.ranges, DIALYSIS.horizon, FEWER_ROWS)
    for rate, l2, clip, spacing in product((0.3, 1.0, 3.0), (0.0, 0.003, 0.01), (0.5, 1.0, 2.0), (1.0, 2.0)):
        settings = Settings(rate, l2, clip, spacing)
        means = [
            float(
                np.mean(
                    [
                        concordance(fewer, part, epsilon, seed, settings, STEPS)
                        for seed, part in enumerate(data)
                    ]
                )
            )
            for epsilon in (8, 4)
        ]
        yield settings, means[0], means[1]


def _cut(rows: SurvivalRows, seed: int) -> SurvivalRows:
    training = np.flatnonzero(rows.train)
    kept = ~rows.train
    kept[np.random.default_rng(seed).choice(training, FEWER_ROWS, replace=False)] = True
    return rows.where(kept)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning.record_privacy")
    parser.add_argument(
        "--choose", action="store_true", help="how the settings were chosen, on dialysis alone"
    )
    if parser.parse_args().choose:
        for settings, eight, four in choose():
            print(f"{settings}: {eight:.4f} at epsilon 8, {four:.4f} at 4", flush=True)
    else:
        print(*rows(range(5)), sep="\n")
