"""Source folders for tests: a small federation whose every value can be changed, with keys made for the occasion."""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from crimson_governance.commands import main
from crimson_governance.files import write_private_key
from crimson_governance.public_files import write_public
from crimson_governance.templates import template
from crimson_protocol.secret.keys import BoxKey, DualKey, IdentityKey

MEASUREMENT = hashlib.sha256(b"the enclave under test").hexdigest()
GOVERNORS = ("alice", "bob", "carol")
NOW = 1_800_000_000


def entropy(seed: object) -> Callable[[int], bytes]:
    """Repeatable bytes: SHAKE-256 over seed and call number."""
    calls = 0

    def draw(length: int) -> bytes:
        nonlocal calls
        calls += 1
        return hashlib.shake_256(f"governance/{seed}/{calls}".encode()).digest(length)

    return draw


@cache
def dual(name: str) -> DualKey:
    """The key of a governor, the publisher or a root. The same name gives the same key."""
    return DualKey.fresh(entropy(name))


@cache
def site_keys(name: str) -> tuple[IdentityKey, BoxKey]:
    """The keys of a site."""
    draw = entropy(f"site {name}")
    return IdentityKey.fresh(draw), BoxKey.fresh(draw)


def node(name: str, **changes: object) -> dict[str, Any]:
    """A node's entry of roster.yaml."""
    identity, box = site_keys(name)
    known = {
        "node": name,
        "organisation": f"organisation of {name}",
        "kind": "hospital",
        "status": "active",
        "identity_key": identity.public.hex(),
        "encryption_key": base64.b64encode(box.public).decode(),
    }
    return {**known, **changes}


def federation(**changes: object) -> dict[str, Any]:
    """federation.yaml."""
    known = {
        "federation": "north",
        "lifetime_days": 90,
        "governors": [{"name": name, "keys": f"governors/{name}.pub"} for name in GOVERNORS],
        "threshold": 2,
        "publisher": {"name": "publisher", "keys": "governors/publisher.pub"},
        "operators": [{"name": "operations", "key": "ab" * 32, "roles": ["backend", "rounds"]}],
        "evidence": {
            "kinds": ["sim"],
            "measurements": [MEASUREMENT],
            "simulated_roots": ["evidence/root-1.pub"],
        },
        "enrolment": {"approvals": 1, "kinds": ["hospital", "blood_bank"]},
    }
    return {**known, **changes}


def model(**changes: object) -> dict[str, Any]:
    """models/model.yaml: a Cox regression. `numbers` and `plan` are changed key by key."""
    known = {
        "model": "model",
        "strategy": "fedavg",
        "numbers": {"clip": 8, "weight_cap": 16, "min_cohort": 4, "corrupt": "1/5"},
        "plan": {
            "task": "cox",
            "time_column": "days",
            "event_column": "died",
            "numeric": ["age", "dose"],
            "categorical": [{"column": "sex", "levels": ["female", "male"]}],
            "steps": 5,
            "learning_rate": Plain("0.5"),
        },
    }
    for part in ("numbers", "plan"):
        known[part] = {**known[part], **changes.pop(part, {})}
    return {**known, **changes}


HAZARD = {"task": "hazard", "cuts": [30, 90, 365], "learning_rate": 1, "steps": 1}
NODE = {"unit": "node", "epsilon": 8, "delta_exponent": 3, "releases": 10}
RECORD = {
    "unit": "record",
    "epsilon": 8,
    "delta_exponent": 5,
    "sampling": 0.1,
    "record_clip": 1,
    "divisor": 100,
    "releases": 10,
}


def private(privacy: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The same with a budget: a hazard whose updates carry no counters, and no site counts for more than another."""
    numbers = {"weight_cap": 1, "value_bits": 20, **changes.pop("numbers", {})}
    plan = {**HAZARD, "losses": False, "weights": "equal", **changes.pop("plan", {})}
    return model(privacy=privacy, numbers=numbers, plan=plan, **changes)


class Plain(float):
    """A number that is written as this text, and as no other."""

    def __new__(cls, text: str) -> "Plain":
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __repr__(self) -> str:
        return self.text


def dumped(values: object) -> str:
    """Values as YAML. JSON is YAML, and says what it says in one way."""
    if isinstance(values, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {dumped(item)}" for key, item in values.items()) + "}"
    if isinstance(values, list):
        return "[" + ", ".join(map(dumped, values)) + "]"
    return repr(values) if isinstance(values, Plain) else json.dumps(values)


@dataclass
class SourceFolder:
    """A source on disk. Change what is in it and `write` again."""

    folder: Path
    federation: dict[str, Any] = field(default_factory=federation)
    nodes: list[dict[str, Any]] = field(default_factory=lambda: [node(f"site-{index}") for index in range(6)])
    models: list[dict[str, Any]] = field(default_factory=lambda: [model()])
    access: str = template("access.cedar")
    schema: str = template("access.cedarschema")

    def write(self) -> "SourceFolder":
        """The files as they now are."""
        for name in ("governors", "evidence", "models"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for path in (self.folder / "models").iterdir():
            path.unlink()
        for party in (*self.federation["governors"], self.federation["publisher"]):
            name = Path(party["keys"]).stem
            (self.folder / "governors" / f"{name}.pub").write_bytes(write_public(dual(name).public))
        (self.folder / "evidence/root-1.pub").write_bytes(write_public(dual("root").public))
        (self.folder / "federation.yaml").write_text(dumped(self.federation))
        (self.folder / "roster.yaml").write_text(dumped({"nodes": self.nodes}))
        (self.folder / "access.cedar").write_text(self.access)
        (self.folder / "access.cedarschema").write_text(self.schema)
        for item in self.models:
            (self.folder / "models" / f"{item['model']}.yaml").write_text(dumped(item))
        return self

    def keys(self) -> dict[str, Path]:
        """Private key files of every party, outside of the folder."""
        keys = self.folder.parent / "keys"
        keys.mkdir(exist_ok=True)
        found = {}
        for party in (*self.federation["governors"], self.federation["publisher"]):
            name = Path(party["keys"]).stem
            found[name] = keys / f"{name}.pem"
            if not found[name].exists():
                write_private_key(found[name], dual(name))
        return found


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    envelope: dict[str, Any]

    @property
    def error(self) -> dict[str, Any]:
        return self.envelope["error"]

    @property
    def data(self) -> dict[str, Any]:
        return self.envelope["data"]


def run(capfd: Any, *argv: object) -> Answer:
    """One `crimson policy` command with --json."""
    capfd.readouterr()
    code = main([*map(str, argv), "--json"])
    return Answer(code, json.loads(capfd.readouterr().out))
