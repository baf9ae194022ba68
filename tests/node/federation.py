"""A small federation of hospital homes on disk: keys, data files, one signed policy with moments and a Cox model."""

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tests.playground import Parties, default_numbers, default_rules, initial, make_parties, sign_policy

from crimson_node.learning.plan import TrainingPlan
from crimson_protocol.policy.document import ModelRules, Policy
from crimson_protocol.secret.key_files import to_pem
from crimson_protocol.transcript import model_digest

MODEL, MOMENTS = "survival", "survival.moments"
FEATURES = ("age", "dose", "marker")
DISTANT = 4_000_000_000
"""Unix time long after any run of these tests."""


def plan(task: str) -> TrainingPlan:
    """The same few columns for both tasks; the Cox model is trained on standardised ones."""
    return TrainingPlan(
        task=task,
        time_column="days",
        event_column="failed",
        numeric=FEATURES,
        categorical=(),
        steps=3,
        learning_rate_micro=100_000,
        l2_micro=10_000,
        weights="rows",
        scale_model=None if task == "moments" else MOMENTS,
        grid_micro=(),
    )


def rules(name: str, task: str, nodes: int) -> ModelRules:
    """Rules of one model of the policy."""
    what = plan(task)
    numbers = default_numbers(nodes, parameters=what.parameters, counters=what.counters, weight_cap=64)
    changes = {"loss": "cox-partial-likelihood"} if task == "cox" else {"strategy": "sum", "loss": "none"}
    return replace(default_rules(numbers), model=name, plan=what.to_bytes(), **changes)


def write_rows(path: Path, seed: int, rows: int = 40) -> None:
    """A site's file with made-up rows."""
    draw = np.random.default_rng(seed)
    lines = [",".join([*FEATURES, "days", "failed", "crimson_split"])]
    for row in range(rows):
        age, dose, marker = draw.normal(60, 10), draw.normal(5, 2), draw.normal(0, 1)
        days = draw.exponential(100 * np.exp(-0.3 * marker))
        failed = int(draw.random() < 0.7)
        split = "test" if row % 4 == 3 else "train"
        lines.append(f"{age:.4f},{dose:.4f},{marker:.4f},{days:.4f},{failed},{split}")
    path.write_text("\n".join(lines) + "\n")


@dataclass
class Homes:
    """Homes of the nodes under one folder, and everything of their federation."""

    root: Path
    nodes: int = 4
    parties: Parties = field(init=False)

    def __post_init__(self) -> None:
        parties = make_parties(self.nodes, seed=os.urandom(8))
        self.parties = self.sign(
            parties,
            replace(
                parties.policy,
                expires=DISTANT,
                models=(rules(MODEL, "cox", self.nodes), rules(MOMENTS, "moments", self.nodes)),
            ),
        )

    def sign(self, parties: Parties, policy: Policy) -> Parties:
        """The parties under another policy."""
        return replace(parties, policy=policy, signed=sign_policy(parties.governor, policy))

    def signed(self, **changes: object) -> bytes:
        """A policy that differs in these fields, signed by the governor."""
        return self.sign(self.parties, replace(self.parties.policy, **changes)).signed

    def artifacts(self) -> dict[str, bytes]:
        """Initial artifacts by model."""
        return {rule.model: initial(rule.numbers) for rule in self.parties.policy.models}

    def by_digest(self) -> dict[str, bytes]:
        """Initial artifacts as the gateway serves them."""
        return {model_digest(artifact).hex(): artifact for artifact in self.artifacts().values()}

    def home(self, index: int) -> Path:
        """Where a node lives."""
        return self.root / f"node-{index}"

    def write(self, index: int, url: str, **settings: object) -> Path:
        """Everything that a joined node has on disk."""
        home = self.home(index)
        keys = home / "keys"
        keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
        secrets = {
            keys / "identity.pem": to_pem(self.parties.identities[index]),
            keys / "encryption.pem": to_pem(self.parties.encryptions[index]),
        }
        for path, data in secrets.items():
            path.write_bytes(data)
            path.chmod(0o600)
        (home / "root.json").write_bytes(self.parties.first_root)
        write_rows(home / "site.csv", index)
        known = {"gateway": url, "node": f"site-{index}", "ca_file": "ca.pem", "data": "site.csv"}
        known |= {"proxy": None, "poll_seconds": 2}
        (home / "node.json").write_text(json.dumps({**known, **settings}))
        return home
