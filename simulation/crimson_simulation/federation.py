"""Every party of a simulated federation, with fresh keys: governor, enclave, nodes."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crimson_enclave.event_log import EventLog
from crimson_enclave.instance import Attester, Instance
from crimson_enclave.measurement import measure
from crimson_enclave.session import Session
from crimson_node.agent import Agent
from crimson_node.data.rows import SurvivalRows
from crimson_node.data.table import load_site
from crimson_node.journal import Journal
from crimson_node.learning.plan import MAX_PLAN, TrainingPlan
from crimson_node.member import Member
from crimson_protocol.crypto.verify import DualPublic
from crimson_protocol.evidence.format import Measure
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
from crimson_simulation.spool import DirectorySpool
from crimson_simulation.witness import Witness

FEDERATION = "crimson-simulation"
NOT_ISOLATED = (Measure("own-process", False), Measure("no-network", False), Measure("seccomp", False))


@dataclass
class Node:
    """One site: its agent and its rows as its own file gave them."""

    name: str
    agent: Agent
    rows: SurvivalRows


@dataclass
class Federation:
    """All parties in one process, and the relay's spool between them."""

    policy: Policy
    signed_policy: bytes
    governor: DualPublic
    session: Session
    nodes: list[Node]
    spool: DirectorySpool
    witness: Witness

    def plan(self, model: str) -> TrainingPlan:
        """The plan that the policy carries for a model."""
        return TrainingPlan.from_bytes(self.policy.rules(model).plan, MAX_PLAN)


def now() -> int:
    """Unix time in whole seconds."""
    return int(time.time())


def build(pooled: PooledData, options: TrainOptions, grid_micro: tuple[int, ...]) -> Federation:
    """Make keys, write and sign the policy, start the enclave and one agent per site.

    Each agent reads its own site's file. Raises PolicyRefusal for a policy that is unsound or that the
    enclave does not implement, DataFault for a site's file that cannot be used.
    """
    names = [site.name for site in pooled.sites]
    keys = [SiteKeys(IdentityKey.fresh(os.urandom), BoxKey.fresh(os.urandom)) for _ in names]
    governor, root = DualKey.fresh(os.urandom), DualKey.fresh(os.urandom)
    measurement, initial = measure(), initial_artifact(pooled.declaration.dimension)
    files = write_sites(pooled, options.out / "sites")
    sites = [load_site(files[name], pooled.declaration, name) for name in names]
    draft = _draft(
        pooled, options, grid_micro, sites, keys, EvidenceRules(("sim",), (measurement,), (root.public,))
    )
    signed = sign_policy(governor, draft)
    policy = load_policy(signed, governor.public, now())
    witness, spool = Witness(), DirectorySpool(options.out / "spool", len(names))
    log = EventLog()
    instance = Instance.start(policy, log.checkpoint(), Attester(root, measurement, NOT_ISOLATED), os.urandom)
    session = Session(
        policy=policy,
        instance=instance,
        artifacts={MODEL: initial, MOMENTS: initial_artifact(0)},
        spool=spool,
        clock=now,
        entropy=os.urandom,
        observer=witness.saw_opened,
        log=log,
    )
    nodes = [
        Node(name, _agent(index, key, signed, governor.public, options.out, witness), rows)
        for index, (name, key, rows) in enumerate(zip(names, keys, sites, strict=True))
    ]
    return Federation(policy, signed, governor.public, session, nodes, spool, witness)


def _draft(
    pooled: PooledData,
    options: TrainOptions,
    grid_micro: tuple[int, ...],
    sites: Sequence[SurvivalRows],
    keys: Sequence[SiteKeys],
    evidence: EvidenceRules,
) -> Policy:
    largest = max(int(rows.train.sum()) for rows in sites)
    initials = {"cox": initial_artifact(pooled.declaration.dimension), "moments": initial_artifact(0)}
    models = []
    for name, task in ((MODEL, "cox"), (MOMENTS, "moments"), (SCORE, "cox-score")):
        plan = training_plan(task, pooled, options, grid_micro)
        numbers = round_numbers(plan, len(sites), largest, options)
        models.append(model_rules(plan, name, numbers, options, initials.get(task, initials["cox"])))
    entries = roster([site.name for site in pooled.sites], keys)
    return write_policy(FEDERATION, entries, evidence, models, now())


def _agent(
    index: int, keys: SiteKeys, signed: bytes, governor: DualPublic, out: Path, witness: Witness
) -> Agent:
    # Every node verifies the signed policy for itself.
    member = Member(index, keys.identity, keys.encryption, load_policy(signed, governor, now()))
    home = out / "nodes" / f"{index:03d}"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / "journal").unlink(missing_ok=True)
    journal = Journal(home / "journal")
    return Agent(member, governor, journal, home / "outbox", now, os.urandom, witness.saw_encoded)
