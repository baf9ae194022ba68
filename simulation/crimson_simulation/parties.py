"""Every party of a simulated federation before anything runs: keys, the signed policy, each site's own file."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crimson_enclave.isolation import REQUIRED, bubblewrap
from crimson_enclave.measurement import measure
from crimson_governance.in_process import Government
from crimson_governance.repository import repository_files
from crimson_node.data.rows import SurvivalRows
from crimson_node.data.table import load_site
from crimson_node.learning.plan import MAX_PLAN, TrainingPlan
from crimson_protocol.policy.document import EvidenceRules, Policy
from crimson_protocol.policy.update import Trust, update
from crimson_protocol.secret.keys import BoxKey, DualKey, IdentityKey
from crimson_protocol.transcript import model_digest
from crimson_simulation.dataset import PooledData, write_sites
from crimson_simulation.options import TrainOptions
from crimson_simulation.policy_writer import (
    MODEL,
    MOMENTS,
    SCORE,
    SiteKeys,
    initial_artifact,
    model_rules,
    roster,
    round_numbers,
    training_plan,
    write_policy,
)

FEDERATION = "crimson-simulation"


@dataclass(frozen=True)
class Parties:
    """Who takes part and under which policy.

    bundle, repository: the policy as it is published, in one piece and as files. anchor: the federation's first
    root. root: signs the simulated evidence. initials: the artifacts that models start from, by model.
    """

    policy: Policy
    bundle: bytes = field(repr=False)
    repository: Mapping[str, bytes] = field(repr=False)
    anchor: bytes = field(repr=False)
    operator: IdentityKey = field(repr=False)
    root: DualKey = field(repr=False)
    measurement: bytes
    keys: tuple[SiteKeys, ...] = field(repr=False)
    files: tuple[Path, ...]
    rows: tuple[SurvivalRows, ...] = field(repr=False)
    initials: Mapping[str, bytes] = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Node ids by roster index."""
        return tuple(entry.node for entry in self.policy.roster)

    def plan(self, model: str) -> TrainingPlan:
        """The plan that the policy carries for a model."""
        return TrainingPlan.from_bytes(self.policy.rules(model).plan, MAX_PLAN)


def now() -> int:
    """Unix time in whole seconds."""
    return int(time.time())


def make_parties(pooled: PooledData, options: TrainOptions, grid_micro: tuple[int, ...]) -> Parties:
    """Fresh keys, each site's file under `options.out`, and the policy over them.

    Raises PolicyRefusal for a policy that is unsound, DataFault for a site's file that cannot be used.
    """
    names = [site.name for site in pooled.sites]
    keys = tuple(SiteKeys(IdentityKey.fresh(os.urandom), BoxKey.fresh(os.urandom)) for _ in names)
    governor, publisher, root = (DualKey.fresh(os.urandom) for _ in range(3))
    operator = IdentityKey.fresh(os.urandom)
    measurement = measure()
    files = write_sites(pooled, options.out / "sites")
    rows = tuple(load_site(files[name], pooled.declaration, name) for name in names)
    evidence = EvidenceRules(("sim",), (measurement,), (root.public,), _measures(options))
    policy = _draft(pooled, options, grid_micro, rows, keys, operator, evidence)
    initials = {MODEL: initial_artifact(pooled.declaration.dimension), MOMENTS: initial_artifact(0)}
    named = {model_digest(artifact): artifact for artifact in initials.values()}
    government = Government.found([governor], publisher, now())
    published = government.publish(policy, policy.expires, named)
    bundle = published.to_bytes()
    return Parties(
        policy=update(Trust.anchored(government.roots[0]), bundle, now()).policy,
        bundle=bundle,
        repository=repository_files(published, named),
        anchor=government.roots[0],
        operator=operator,
        root=root,
        measurement=measurement,
        keys=keys,
        files=tuple(files[name] for name in names),
        rows=rows,
        initials=initials,
    )


def _measures(options: TrainOptions) -> tuple[str, ...]:
    """What the policy asks of the enclave's isolation: all that there is, where this machine has a sandbox."""
    sandboxed = options.engine == "processes" and bubblewrap.find() is not None
    return tuple(sorted(REQUIRED)) if sandboxed else ()


def _draft(
    pooled: PooledData,
    options: TrainOptions,
    grid_micro: tuple[int, ...],
    rows: Sequence[SurvivalRows],
    keys: Sequence[SiteKeys],
    operator: IdentityKey,
    evidence: EvidenceRules,
) -> Policy:
    largest = max(int(site.train.sum()) for site in rows)
    trained, empty = initial_artifact(pooled.declaration.dimension), initial_artifact(0)
    models = []
    for name, task in ((MODEL, "cox"), (MOMENTS, "moments"), (SCORE, "cox-score")):
        plan = training_plan(task, pooled, options, grid_micro)
        numbers = round_numbers(plan, len(rows), largest, options)
        models.append(model_rules(plan, name, numbers, options, empty if task == "moments" else trained))
    entries = roster([site.name for site in pooled.sites], keys)
    return write_policy(FEDERATION, entries, operator.public, evidence, models, now())
