"""Every party of a simulated federation before anything runs: keys, the signed policy, each site's own file."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crimson_enclave.isolation import REQUIRED, bubblewrap
from crimson_enclave.measurement import measure
from crimson_node.data.rows import SurvivalRows
from crimson_node.data.table import load_site
from crimson_node.learning.plan import MAX_PLAN, TrainingPlan
from crimson_protocol.crypto.verify import DualPublic
from crimson_protocol.policy.document import EvidenceRules, Policy
from crimson_protocol.policy.signed import load_policy
from crimson_protocol.secret.keys import BoxKey, DualKey, IdentityKey
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
    sign_policy,
    training_plan,
    write_policy,
)

FEDERATION = "crimson-simulation"


@dataclass(frozen=True)
class Parties:
    """Who takes part and under which policy. `root` signs the simulated evidence; `initials` are the artifacts
    that models start from, by model."""

    policy: Policy
    signed_policy: bytes = field(repr=False)
    governor: DualPublic
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
    governor, root = DualKey.fresh(os.urandom), DualKey.fresh(os.urandom)
    measurement = measure()
    files = write_sites(pooled, options.out / "sites")
    rows = tuple(load_site(files[name], pooled.declaration, name) for name in names)
    evidence = EvidenceRules(("sim",), (measurement,), (root.public,), _measures(options))
    signed = sign_policy(governor, _draft(pooled, options, grid_micro, rows, keys, evidence))
    return Parties(
        policy=load_policy(signed, governor.public, now()),
        signed_policy=signed,
        governor=governor.public,
        root=root,
        measurement=measurement,
        keys=keys,
        files=tuple(files[name] for name in names),
        rows=rows,
        initials={MODEL: initial_artifact(pooled.declaration.dimension), MOMENTS: initial_artifact(0)},
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
    return write_policy(FEDERATION, entries, evidence, models, now())
