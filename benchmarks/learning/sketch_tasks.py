"""Federations of 60 sites that the sketch filter is measured on: one model per task, all sites trained at once.

Rows are padded to the largest site, and every site's network is one slice of a batched product, so a round of all
sites is a few matrix products. Everything is seeded.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.preprocessing import scale
from sksurv.datasets import load_flchain

from benchmarks.learning.data import data_file

SITES = 60
BINS = 12
STEPS, RATE = 5, 0.3
Reals = NDArray[np.float64]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Task:
    """Padded training rows of every site, and test rows.

    features (sites, rows, columns), targets (sites, rows, ...), present (sites, rows) 1 or 0. layers: widths from
    the features to the outputs. loss: outputs and targets to one value per row. error: outputs of the test rows to
    what is reported, smaller is better. bound: on an update's norm, 1.5 times what is usual in a clean run.
    relative: damage is a ratio to the clean error, else a difference.
    """

    name: str
    features: torch.Tensor = field(repr=False)
    targets: torch.Tensor = field(repr=False)
    present: torch.Tensor = field(repr=False)
    layers: tuple[int, ...]
    loss: Loss
    test: torch.Tensor = field(repr=False)
    error: Callable[[torch.Tensor], float]
    bound: float
    relative: bool

    @property
    def weights(self) -> Reals:
        """Rows per site."""
        return self.present.sum(1).numpy().astype(np.float64)

    def initial(self, seed: int) -> Reals:
        """Parameters (d,): weights as He et al. 2015, biases zero."""
        generator = torch.Generator().manual_seed(seed)
        parts = []
        for inputs, outputs in zip(self.layers[:-1], self.layers[1:], strict=True):
            parts += [
                torch.randn(inputs * outputs, generator=generator) * (2 / inputs) ** 0.5,
                torch.zeros(outputs),
            ]
        return torch.cat(parts).double().numpy()

    def outputs(self, parameters: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """The networks' outputs (sites, rows, K) for parameters (sites, d) and features (sites, rows, columns)."""
        at, values = 0, features
        for inputs, outputs in zip(self.layers[:-1], self.layers[1:], strict=True):
            matrix = parameters[:, at : at + inputs * outputs].reshape(-1, inputs, outputs)
            at += inputs * outputs
            values = torch.baddbmm(parameters[:, None, at : at + outputs], values, matrix)
            at += outputs
            if at < parameters.shape[1]:
                values = torch.relu(values)
        return values

    def updates(self, parameters: Reals) -> Reals:
        """What STEPS full-batch gradient steps change at every site (sites, d)."""
        start = torch.from_numpy(parameters).float().repeat(SITES, 1)
        local = start.clone()
        for _ in range(STEPS):
            local.requires_grad_(True)
            rows = self.loss(self.outputs(local, self.features), self.targets) * self.present
            (gradient,) = torch.autograd.grad((rows.sum(1) / self.present.sum(1)).sum(), local)
            local = local.detach() - RATE * gradient
        return (local - start).double().numpy()

    def test_error(self, parameters: Reals) -> float:
        """The error of one model on the test rows."""
        with torch.no_grad():
            return self.error(self.outputs(torch.from_numpy(parameters).float()[None], self.test[None])[0])


def padded(sites: list[Reals]) -> torch.Tensor:
    """Arrays of unlike lengths as one tensor, filled up with zeros."""
    longest = max(len(site) for site in sites)
    return torch.stack(
        [
            torch.from_numpy(np.pad(site, [(0, longest - len(site))] + [(0, 0)] * (site.ndim - 1))).float()
            for site in sites
        ]
    )


def shifted_classes(seed: int) -> Task:
    """S: ten Gaussian classes in 100 columns; every site has its own offset and its own mix of classes. d = 22,210."""
    rng = np.random.default_rng([seed, 1])
    centres = rng.normal(0, 1, (10, 100)) * 0.35
    features, targets = [], []
    for _ in range(SITES):
        rows = int(rng.integers(40, 121))
        labels = rng.choice(10, rows, p=rng.dirichlet(np.full(10, 1.0)))
        features.append(centres[labels] + rng.normal(0, 0.15, 100) + rng.normal(0, 1, (rows, 100)))
        targets.append(labels.astype(np.float64))
    test_labels = rng.integers(0, 10, 4000)
    test = centres[test_labels] + rng.normal(0, 1, (4000, 100))
    return _classes("classes", (features, targets), (test, test_labels), 200, 1.2)


def digits(seed: int) -> Task:
    """N: 1,797 handwritten digits of 8 x 8 grey levels, which scikit-learn holds, 30 % held out; every site has its own
    mix of digits, of 7 rows or more. d = 21,010.
    """
    images, labels = load_digits(return_X_y=True)
    return _mixed("digits", (images / 8 - 1, labels), seed, (280, 7), 0.9)


def tumours(seed: int) -> Task:
    """T: 569 tumours by 30 measures of their cells' nuclei, which scikit-learn holds, benign or not; sites as for
    digits, of 3 rows or more. d = 21,122. Nothing in the filter was chosen with it.
    """
    measures, labels = load_breast_cancer(return_X_y=True)
    return _mixed("tumours", (scale(measures) / 4, labels), seed, (640, 3), 0.3)


def _mixed(
    name: str, data: tuple[Reals, NDArray[np.int64]], seed: int, sizes: tuple[int, int], bound: float
) -> Task:
    """Labelled rows dealt to sites, each with its own mix of classes. sizes: width of the hidden layer, and about the
    least rows of a site."""
    rng = np.random.default_rng([seed, 3])
    (features, labels), (hidden, least) = data, sizes
    held_out = rng.random(len(labels)) < 0.3
    mixes = rng.dirichlet(np.full(SITES, 1.0), labels.max() + 1) + 0.01
    site = np.array([rng.choice(SITES, p=mixes[label] / mixes[label].sum()) for label in labels])
    # No site is without rows.
    spare = rng.permutation(np.flatnonzero(~held_out))[: least * SITES]
    site[spare] = np.arange(len(spare)) % SITES
    inside = [np.flatnonzero((site == one) & ~held_out) for one in range(SITES)]
    parts = [features[rows] for rows in inside], [labels[rows].astype(np.float64) for rows in inside]
    return _classes(name, parts, (features[held_out], labels[held_out]), hidden, bound)


def _classes(
    name: str,
    sites: tuple[list[Reals], list[Reals]],
    test: tuple[Reals, NDArray[np.int64]],
    hidden: int,
    bound: float,
) -> Task:
    """Classes by cross-entropy; sites and test are features and labels; error is the rate on the test rows."""
    features, targets = sites
    expected = torch.from_numpy(test[1])

    def loss(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(outputs.transpose(1, 2), labels.long(), reduction="none")

    def error(outputs: torch.Tensor) -> float:
        return float((outputs.argmax(1) != expected).float().mean())

    present = padded([np.ones(len(site)) for site in features])
    layers = (features[0].shape[1], hidden, int(test[1].max()) + 1)
    rows = torch.from_numpy(test[0]).float()
    return Task(name, padded(features), padded(targets), present, layers, loss, rows, error, bound, True)


def dialysis(seed: int) -> Task:
    """D: hazard of the 60 largest dialysis units, 30 % of patients held out; few columns, unlike sites. d = 27,242."""
    table = pd.read_csv(data_file("dialysis-67-centres", "dialysis.csv"))
    sizes = table.groupby("center").size()
    table = table[table["center"].isin(sizes.sort_values(kind="stable").index[-SITES:])]
    columns = [(table["age"] - 50) / 20, (table["begin"] - 22) / 13]
    columns += [table["disease"] == name for name in sorted(table["disease"].unique())]
    cohort = _Cohort("dialysis", _matrix(columns), _array(table["time"]), _array(table["event"]), 45.0)
    return _hazard(cohort, table["center"].to_numpy(), seed, (160, 150), 0.8)


def drives(seed: int) -> Task:
    """F: hazard of 9,000 storage drives, sorted by brand and temperature into 60 sites. d = 24,182."""
    table = pd.read_csv(data_file("hdfail-unit-lifetime", "hdfail.csv"))
    failed = table[table["event"] == 1]
    rest = table[table["event"] == 0].sample(9000 - len(failed), random_state=seed)
    table = pd.concat([failed, rest]).sort_values(["brand", "temp", "pid"], ignore_index=True)
    columns = [(table["temp"].fillna(30) - 27) / 6]
    columns += [np.log1p(table[name].fillna(0).clip(0)) / 4 for name in ("rsc", "rer", "psc")]
    columns += [table["brand"] == name for name in sorted(table["brand"].unique())]
    horizon = float(table["time"].max()) + 1
    cohort = _Cohort("drives", _matrix(columns), _array(table["time"]), _array(table["event"]), horizon)
    return _hazard(cohort, _dealt(len(table)), seed, (150, 140), 0.45)


def light_chains(seed: int) -> Task:
    """L: hazard of the 7,874 people of FLCHAIN, in scikit-survival, sorted by age into 60 sites. d = 23,882."""
    table, outcome = load_flchain()
    order = np.argsort(_array(table["age"]), kind="stable")
    table, outcome = table.iloc[order], outcome[order]
    columns = [
        (table["age"].astype(float) - 70) / 15,
        table["sex"] == "M",
        table["mgus"].astype(str) == "yes",
    ]
    columns += [
        np.log(table[name].astype(float).fillna(1.0).clip(0.05, 20))
        for name in ("kappa", "lambda", "creatinine")
    ]
    time, event = outcome["futime"].astype(float), outcome["death"].astype(float)
    cohort = _Cohort("light chains", _matrix(columns), time, event, 5300.0)
    return _hazard(cohort, _dealt(len(table)), seed, (150, 140), 0.7)


WEEKS = 6


def admissions(seed: int) -> Task:
    """A: how hospital admissions with influenza change in the next week, on a logarithmic scale, from the last six.

    A site is one American jurisdiction in one season, 60 of them drawn; the weeks of all others are held out.
    d = 21,141.
    """
    table = pd.read_csv(data_file("flusight-admissions-weekly", "admissions.csv"), parse_dates=["date"])
    table = table.sort_values(["location", "date"])
    level = np.log1p(table["value"])
    lags = [level.groupby(table["location"]).shift(weeks) for weeks in range(WEEKS)]
    change = level.groupby(table["location"]).shift(-1) - level
    angle = 2 * np.pi * table["date"].dt.dayofyear / 365.25
    season = table["date"].dt.year - (table["date"].dt.month < 8)
    columns = _matrix([*((lag - 4) / 8 for lag in lags), np.cos(angle) / 4, np.sin(angle) / 4])
    known = np.isfinite(columns).all(axis=1) & np.isfinite(change)
    columns, targets = columns[known], _array(change)[known]
    site = (table["location"].astype(str) + " " + season.astype(str)).to_numpy()[known]
    names, rows = np.unique(site, return_counts=True)
    drawn = np.random.default_rng([seed, 4]).permutation(names[rows >= 20])[:SITES]
    inside = [np.flatnonzero(site == name) for name in drawn]
    held_out = ~np.isin(site, drawn)
    expected = torch.from_numpy(targets[held_out]).float()

    def error(outputs: torch.Tensor) -> float:
        return float((outputs[:, 0] - expected).square().mean().sqrt())

    arrays = (columns, targets, np.ones(len(targets)))
    parts = [padded([array[rows] for rows in inside]) for array in arrays]
    layers = (columns.shape[1], 140, 140, 1)
    test = torch.from_numpy(columns[held_out]).float()
    return Task("admissions", *parts, layers, _squared_loss, test, error, 0.22, True)


def _squared_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (outputs[..., 0] - targets).square() / 2


@dataclass(frozen=True)
class _Cohort:
    """Columns (n, p), times and events (n,), and a public horizon that no time exceeds."""

    name: str
    columns: Reals
    time: Reals
    event: Reals
    horizon: float


def _array(column: Any) -> Reals:
    return np.asarray(column, np.float64)


def _matrix(columns: list[Any]) -> Reals:
    return np.stack([_array(column) for column in columns], 1)


def _dealt(rows: int) -> NDArray[np.intp]:
    return np.arange(rows) * SITES // rows


def _hazard(cohort: _Cohort, site: NDArray[Any], seed: int, hidden: tuple[int, int], bound: float) -> Task:
    """Discrete-time logistic hazard on BINS equal bins up to the horizon; 30 % held out; error is 1 - Harrell's C."""
    held_out = np.random.default_rng([seed, 2]).random(len(cohort.time)) < 0.3
    place = np.minimum((cohort.time / cohort.horizon * BINS).astype(int), BINS - 1)
    at_risk = np.arange(BINS) <= place[:, None]
    died = (np.arange(BINS) == place[:, None]) * cohort.event[:, None]
    targets = np.stack([at_risk, died], 2).astype(float)
    inside = [np.flatnonzero((site == one) & ~held_out) for one in sorted(set(site))]

    def error(outputs: torch.Tensor) -> float:
        log_survival = torch.nn.functional.logsigmoid(-outputs).cumsum(1).sum(1).numpy()
        return 1 - concordance(cohort.time[held_out], cohort.event[held_out] == 1, -_array(log_survival))

    arrays = (cohort.columns, targets, np.ones(len(site)))
    parts = [padded([array[rows] for rows in inside]) for array in arrays]
    layers = (cohort.columns.shape[1], *hidden, BINS)
    test = torch.from_numpy(cohort.columns[held_out]).float()
    return Task(cohort.name, *parts, layers, _hazard_loss, test, error, bound, False)


def _hazard_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(outputs, targets[..., 1], reduction="none")
    return (entropy * targets[..., 0]).sum(2)


def concordance(time: Reals, event: NDArray[np.bool_], risk: Reals) -> float:
    """Harrell's C: of the pairs whose order is known, the share in which the earlier event has the higher risk."""
    concordant = comparable = 0.0
    for row in np.flatnonzero(event):
        later = time > time[row]
        comparable += later.sum()
        concordant += (risk[row] > risk[later]).sum() + (risk[row] == risk[later]).sum() / 2
    return float(concordant / comparable)
