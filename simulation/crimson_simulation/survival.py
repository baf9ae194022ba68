"""A whole survival run: moments, training rounds, score, and the models that a federation competes with."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from crimson_node.data.rows import Floats, SurvivalRows
from crimson_node.learning.contribution import released_loss, released_scores, standardised
from crimson_node.learning.learner import learner_of
from crimson_node.learning.plan import MICRO, TrainingPlan
from crimson_node.learning.ranges import scaled_by_ranges
from crimson_protocol.artifact import MAX_ARTIFACT, Artifact
from crimson_simulation.attacks.registry import attack_of
from crimson_simulation.dataset import PooledData
from crimson_simulation.engine import Engine, RunFacts, plan_drops
from crimson_simulation.inline import InlineEngine
from crimson_simulation.options import TrainOptions
from crimson_simulation.parties import Parties, make_parties
from crimson_simulation.policy_writer import MODEL, MOMENTS, SCORE
from crimson_simulation.pooled_metrics import centralised, local_models, pooled
from crimson_simulation.processes.engine import ProcessEngine
from crimson_simulation.public_facts import public_facts
from crimson_simulation.run_folder import run_folder


class Display(Protocol):
    """Where progress shows."""

    def stage(self, text: str) -> None: ...

    def round(self, number: int, of: int, loss: float | None) -> None: ...

    def phase(self, name: str) -> None: ...


@dataclass
class SurvivalRun:
    """What a finished run leaves behind for its summary."""

    parties: Parties
    facts: RunFacts
    parameters: Floats
    scores: Mapping[str, Any] | None
    federated: Mapping[str, Any]
    centralised: Mapping[str, Any]
    local: Mapping[str, Mapping[str, Any]]
    seconds: dict[str, float] = field(default_factory=dict)


def make_engine(parties: Parties, options: TrainOptions, folder: Path, display: Display) -> Engine:
    """The engine that the options name, which keeps what it makes in `folder`."""
    attack = attack_of(options)
    if options.engine == "inline":
        return InlineEngine(parties, folder, display.phase, attack, options.seed)
    drops = options.drop > 0
    return ProcessEngine(parties, folder, display.phase, attack, options.seed, drops=drops)


def run(pooled_data: PooledData, options: TrainOptions, display: Display) -> SurvivalRun:
    """Train by the engine, score through secure lanes, and train the comparison models in the clear."""
    seconds: dict[str, float] = {}
    stack = ExitStack()
    with _timed(seconds, "setup"):
        display.stage("writing keys and policy")
        facts = public_facts(pooled_data)
        parties = make_parties(pooled_data, options, facts)
        display.stage(f"starting the gateway, the enclave and {len(parties.names)} nodes")
        folder = stack.enter_context(run_folder(options.out))
        engine = stack.enter_context(make_engine(parties, options, folder, display))
    moments, scores = b"", None
    plan, grid = parties.plan(MODEL), np.array(facts.grid_micro, np.float64) / MICRO
    with stack:
        if plan.scale_model is not None:
            with _timed(seconds, "moments"):
                display.stage("summing moments to standardise by")
                moments = engine.run_round(MOMENTS)
        with _timed(seconds, "training"):
            artifact = _train(engine, options, len(parties.names), display)
        if SCORE in {rules.model for rules in parties.policy.models}:
            with _timed(seconds, "scoring"):
                display.stage("scoring the released model through secure lanes")
                scores = released_scores(engine.run_round(SCORE), grid)
        found = engine.facts()
    with _timed(seconds, "comparison"):
        display.stage("training the centralised and single-site models beside it, in the clear")
        rows = [_scaled(site, plan, moments) for site in parties.rows]
        together, learner = SurvivalRows.together(rows), learner_of(plan)
        parameters, start = _vector(artifact), _vector(parties.initials[MODEL])
        federated = pooled(parameters, together.training(), together.held_out(), grid, learner)
        central = centralised(rows, plan, start, options.steps, grid)
        local = local_models(dict(zip(parties.names, rows, strict=True)), plan, start, options.steps, grid)
    return SurvivalRun(parties, found, parameters, scores, federated, central, local, seconds)


def _scaled(rows: SurvivalRows, plan: TrainingPlan, moments: bytes) -> SurvivalRows:
    """Rows as the nodes scaled them."""
    if plan.scale_model is None:
        return scaled_by_ranges(rows, plan.public_ranges)
    return standardised(rows, moments)


def _vector(artifact: bytes) -> Floats:
    return Artifact.from_bytes(artifact, MAX_ARTIFACT).vector().astype(np.float64)


def _train(engine: Engine, options: TrainOptions, nodes: int, display: Display) -> bytes:
    artifact = b""
    for number in range(1, options.steps + 1):
        artifact = engine.run_round(MODEL, plan_drops(nodes, options.drop, options.seed, number))
        display.round(number, options.steps, released_loss(artifact))
    return artifact


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - start, 3)
