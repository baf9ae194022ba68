"""Every party of a simulated federation before anything runs: keys, the signed policy, each site's own file."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crimson_enclave.isolation import REQUIRED, bubblewrap
from crimson_enclave.measurement import measure
from crimson_governance.in_process import Government
from crimson_governance.repository import repository_files
from crimson_node.data.rows import SurvivalRows
from crimson_node.data.table import load_site
from crimson_node.learning.plan import MAX_PLAN, TrainingPlan
from crimson_protocol.policy.document import EvidenceRules, ModelRules, Policy
from crimson_protocol.policy.soundness import refuse_unsound
from crimson_protocol.policy.update import Trust, update
from crimson_protocol.secret.keys import BoxKey, DualKey, IdentityKey
from crimson_protocol.transcript import model_digest
from crimson_simulation.dataset import PooledData, write_sites
from crimson_simulation.options import TrainOptions
from crimson_simulation.policy_writer import (
    MODEL,
    MOMENTS,
    SCORE,
    TASKS,
    SiteKeys,
    initial_artifact,
    model_rules,
    roster,
    training_plan,
    write_policy,
)
from crimson_simulation.public_facts import PublicFacts

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


def make_parties(pooled: PooledData, options: TrainOptions, facts: PublicFacts) -> Parties:
    """Fresh keys, each site's file under `options.out`, and the policy over them.

    Raises PolicyRefusal for a policy that is unsound, DataFault for a site's file that cannot be used.
    """
    names = [site.name for site in pooled.sites]
    keys = tuple(SiteKeys(IdentityKey.fresh(os.urandom), BoxKey.fresh(os.urandom)) for _ in names)
    governor, publisher, root = (DualKey.fresh(os.urandom) for _ in range(3))
    operator = IdentityKey.fresh(os.urandom)
    measurement = measure()
    evidence = EvidenceRules(("sim",), (measurement,), (root.public,), _measures(options))
    models, initials = models_of(pooled, options, facts)
    policy = write_policy(FEDERATION, roster(names, keys), operator.public, evidence, models, now())
    refuse_unsound(policy)
    files = write_sites(pooled, options.out / "sites")
    rows = tuple(load_site(files[name], pooled.declaration, name) for name in names)
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


def models_of(
    pooled: PooledData, options: TrainOptions, facts: PublicFacts
) -> tuple[list[ModelRules], dict[str, bytes]]:
    """The rules of the trained model and, where no privacy budget forbids their exact sums, of the moments and scores
    around it; and the artifacts that models start from."""
    tasks = {MODEL: TASKS[options.model]}
    if not options.dp:
        tasks |= {MOMENTS: "moments", SCORE: f"{TASKS[options.model]}-score"}
    plans = {name: training_plan(task, pooled, options, facts) for name, task in tasks.items()}
    starts = {name: initial_artifact(plan) for name, plan in plans.items() if name != SCORE}
    models = [
        model_rules(plan, name, options, len(pooled.sites), facts, starts[MODEL if name == SCORE else name])
        for name, plan in plans.items()
    ]
    return models, starts


def _measures(options: TrainOptions) -> tuple[str, ...]:
    """What the policy asks of the enclave's isolation: all that there is, where this machine has a sandbox."""
    sandboxed = options.engine == "processes" and bubblewrap.find() is not None
    return tuple(sorted(REQUIRED)) if sandboxed else ()
