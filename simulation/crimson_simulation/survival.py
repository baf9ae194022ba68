"""A whole survival run: moments, training rounds, score, and the models that a federation competes with."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from crimson_node.data.rows import Floats, SurvivalRows
from crimson_node.data.table import survival_rows
from crimson_node.learning.contribution import contribute, released_loss, released_scores, standardised
from crimson_node.learning.plan import MICRO
from crimson_protocol.artifact import MAX_ARTIFACT, Artifact
from crimson_simulation.dataset import PooledData
from crimson_simulation.federation import Federation, build
from crimson_simulation.inline import InlineEngine, plan_drops
from crimson_simulation.options import TrainOptions
from crimson_simulation.policy_writer import MODEL, MOMENTS, SCORE
from crimson_simulation.pooled_metrics import centralised, follow_up_grid, local_models, pooled


class Display(Protocol):
    """Where progress shows."""

    def stage(self, text: str) -> None: ...

    def round(self, number: int, of: int, loss: float | None) -> None: ...

    def phase(self, name: str) -> None: ...


@dataclass
class SurvivalRun:
    """What a finished run leaves behind for its summary."""

    federation: Federation
    engine: InlineEngine
    parameters: Floats
    scores: Mapping[str, Any]
    federated: Mapping[str, Any]
    centralised: Mapping[str, Any]
    local: Mapping[str, Mapping[str, Any]]
    seconds: dict[str, float] = field(default_factory=dict)


def public_grid(pooled_data: PooledData) -> tuple[int, ...]:
    """Times for the Brier score, in millionths. A federation declares them; a simulation reads the file."""
    parts = [survival_rows(site.table(), pooled_data.declaration) for site in pooled_data.sites]
    times = follow_up_grid(SurvivalRows.together(parts).training())
    return tuple(sorted({round(float(moment) * MICRO) for moment in times}))


def run(pooled_data: PooledData, options: TrainOptions, display: Display) -> SurvivalRun:
    """Train by the inline engine, score through secure lanes, and train the comparison models in the clear."""
    seconds: dict[str, float] = {}
    with _timed(seconds, "setup"):
        display.stage("writing keys and policy, starting the enclave and the nodes")
        federation = build(pooled_data, options, public_grid(pooled_data))
    engine = InlineEngine(federation, display.phase)
    with _timed(seconds, "moments"):
        display.stage("summing moments to standardise by")
        moments = _round(federation, engine, MOMENTS, [node.rows for node in federation.nodes])
    rows = [standardised(node.rows, moments) for node in federation.nodes]
    with _timed(seconds, "training"):
        artifact = _train(federation, engine, rows, options, display)
    with _timed(seconds, "scoring"):
        display.stage("scoring the released model through secure lanes")
        scores = released_scores(_round(federation, engine, SCORE, rows), federation.plan(SCORE).grid)
    parameters = Artifact.from_bytes(artifact, MAX_ARTIFACT).vector().astype(np.float64)
    with _timed(seconds, "comparison"):
        display.stage("training the centralised and single-site models beside it, in the clear")
        plan, grid = federation.plan(MODEL).cox, federation.plan(SCORE).grid
        together = SurvivalRows.together(rows)
        federated = pooled(parameters, together.training(), together.held_out(), grid)
        central = centralised(rows, plan, options.rounds, grid)
        named = {node.name: site for node, site in zip(federation.nodes, rows, strict=True)}
        local = local_models(named, plan, options.rounds, grid)
    return SurvivalRun(federation, engine, parameters, scores, federated, central, local, seconds)


def _train(
    federation: Federation,
    engine: InlineEngine,
    rows: list[SurvivalRows],
    options: TrainOptions,
    display: Display,
) -> bytes:
    artifact = federation.session.base(MODEL)
    for number in range(1, options.rounds + 1):
        drops = plan_drops(len(rows), options.drop, options.seed, number)
        artifact = _round(federation, engine, MODEL, rows, drops)
        display.round(number, options.rounds, released_loss(artifact))
    return artifact


def _round(
    federation: Federation,
    engine: InlineEngine,
    model: str,
    rows: list[SurvivalRows],
    drops: Mapping[int, str] | None = None,
) -> bytes:
    rules, plan, base = federation.policy.rules(model), federation.plan(model), federation.session.base(model)
    return engine.run_round(model, lambda index: contribute(rules, plan, base, rows[index]), drops)


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - start, 3)
