"""The summary of a run: the keys that documentation and outside checks rely on, and the files beside it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from crimson_governance.budgets import noise_to_signal
from crimson_node.durable import make_folder, write_file
from crimson_protocol.events import SignedCheckpoint
from crimson_protocol.log import leaf_hash, merkle_root
from crimson_protocol.policy.document import ModelRules
from crimson_protocol.policy.privacy import multiplier_micro
from crimson_protocol.receipt import release_event, verify_receipt
from crimson_protocol.wire import cbor
from crimson_protocol.wire.envelope import MAX_BODY, Envelope
from crimson_protocol.wire.messages.release import Release
from crimson_simulation.dataset import PooledData
from crimson_simulation.engine import RunFacts
from crimson_simulation.options import TrainOptions
from crimson_simulation.policy_writer import MODEL
from crimson_simulation.public_facts import names_of_ranges
from crimson_simulation.survival import SurvivalRun

SCHEMA = "crimson/train-summary/1"
MAX_CHECKPOINT = 8192


def summarise(run: SurvivalRun, pooled: PooledData, options: TrainOptions) -> dict[str, Any]:
    """Everything measured in this run; nothing else."""
    facts, rules = run.facts, run.parties.policy.rules(MODEL)
    local = {name: scores["concordance"] for name, scores in run.local.items()}
    known = [value for value in local.values() if value is not None]
    return {
        "schema": SCHEMA,
        "model": options.model,
        "strategy": options.strategy,
        "rounds": options.steps,
        "nodes": len(run.parties.names),
        "sites": list(run.parties.names),
        "engine": options.engine,
        "attack": options.attack,
        "robust": {
            "rule": rules.robust_rule,
            "mixing": bool(rules.mixing),
            "tolerated": rules.robust_tolerance,
        },
        "features": list(pooled.declaration.feature_names),
        "left_out": list(pooled.identifiers),
        "dropped": [{"round": drop.round, "node": drop.node, "phase": drop.phase} for drop in facts.dropped],
        "refused": list(facts.refused),
        "secure": True,
        "sum_matches_plain": facts.sum_matches_plain,
        "evidence": {
            "kind": "sim",
            "simulated": True,
            "isolated": facts.isolated,
            "measures": {measure.name: measure.enforced for measure in facts.measures},
        },
        "privacy": _privacy(facts, rules),
        "metric": {
            "name": "concordance",
            "federated": run.federated["concordance"],
            "centralised": run.centralised["concordance"],
            "local_mean": float(np.mean(known)) if known else None,
            "local": list(local.values()),
            "local_by_site": local,
            "ipcw_concordance": run.federated["ipcw_concordance"],
            "integrated_brier": run.federated["integrated_brier"],
            "not_computed": run.federated["reasons"],
            "sitewise": dict(run.scores) if run.scores is not None else None,
        },
        "policy": _policy(rules),
        "seconds": {**run.seconds, "total": round(sum(run.seconds.values()), 3)},
        "bytes": {
            "control_up": facts.traffic.control_up,
            "vectors_up": facts.traffic.vectors_up,
            "down": facts.traffic.down,
        },
        "receipts": len(facts.receipts),
        "log": _log(facts),
        "warnings": [
            *pooled.warnings,
            *_warnings(rules),
            *privacy_warnings(rules, pooled),
            *_uncompared(facts),
        ],
    }


def _policy(rules: ModelRules) -> dict[str, Any]:
    numbers = rules.numbers
    return {
        "corrupt": "/".join(map(str, numbers.corrupt)),
        "min_cohort": numbers.min_cohort,
        "bucket_size": numbers.bucket_size,
        "ring_bits": numbers.ring_bits,
        "value_bits": numbers.value_bits,
        "clip": numbers.clip_micro / 1e6,
        "weight_cap": numbers.weight_cap,
        "disclosures": list(rules.disclosures),
    }


def _warnings(rules: ModelRules) -> list[str]:
    texts = {
        "no-corruption": "corrupt 0: the policy trusts every node not to collude with a broken enclave",
        "small-buckets": "the policy shows sums over small buckets inside the enclave",
        "single-updates": "the policy shows single updates inside the enclave",
        "sketches": "the enclave sees a sketch of every update",
    }
    return [text for name, text in texts.items() if name in rules.disclosures]


def _privacy(facts: RunFacts, rules: ModelRules) -> dict[str, Any] | None:
    """What the last receipt of the private model says that all its releases cost together."""
    receipts = [verify_receipt(data, facts.receipt_key) for data in facts.receipts]
    charges = [receipt.privacy for receipt in receipts if receipt.privacy is not None]
    if rules.privacy is None or not charges:
        return None
    last = charges[-1]
    return {
        "unit": last.unit,
        "epsilon": last.after_thousandths / 1000,
        "delta": 10.0**-last.delta_exponent,
        "adjacency": last.adjacency,
        "releases": last.releases,
        "budget": rules.privacy.epsilon_thousandths / 1000,
        "noise": rules.privacy.noise,
        "charged_steps": rules.privacy.steps,
        "noise_multiplier": multiplier_micro(rules) / 1e6,
    }


def privacy_warnings(rules: ModelRules, pooled: PooledData) -> list[str]:
    """What a private run takes as public although this machine read it off the file, and what its scores cost."""
    if rules.privacy is None:
        return []
    numeric = pooled.declaration.numeric
    found = [
        "taken as public, and read off the file: time horizon and size of the cohort"
        + (f", and the ranges of {names_of_ranges(numeric)}" if numeric else ""),
        "the scores are computed by this run, which was given all rows; the budget does not cover them",
    ]
    signal = noise_to_signal(rules, rules.privacy, len(pooled.sites))
    if rules.privacy.unit == "node" and signal > 1:
        found.append(f"noise on the mean update is {signal:.2f} times the clip: little can be learnt")
    return found


def _uncompared(facts: RunFacts) -> list[str]:
    if facts.sum_matches_plain is not None:
        return []
    return ["sum_matches_plain was not computed: an opened sum did not reach the witness"]


def _log(facts: RunFacts) -> dict[str, Any]:
    """Size and root of the log as the last release's checkpoint signs it, checked by building the tree anew from
    the leaves and verifying every receipt's signatures."""
    release = Release.from_bytes(Envelope.from_bytes(facts.release, MAX_BODY).body, MAX_BODY)
    signed = SignedCheckpoint.from_bytes(release.checkpoint, MAX_CHECKPOINT)
    signed.verify(facts.receipt_key)
    size, root = signed.checkpoint.size, signed.checkpoint.root
    events = {leaf_hash(leaf) for leaf in facts.leaves[:size]}
    for data in facts.receipts:
        receipt = verify_receipt(data, facts.receipt_key)
        if leaf_hash(release_event(receipt, data).to_bytes()) not in events:
            return {"size": size, "root": root.hex(), "verified": False}
    verified = len(facts.leaves) >= size and merkle_root(facts.leaves[:size]) == root
    return {"size": size, "root": root.hex(), "verified": verified}


def write_outputs(run: SurvivalRun, summary: dict[str, Any], pooled: PooledData, out: Path) -> None:
    """summary.json, model.safetensors, policy, trust root, receipts and log under `out`; each file whole or absent."""
    names = json.dumps(list(pooled.declaration.feature_names))
    tensors = {
        "coefficients" if run.parties.plan(MODEL).task == "cox" else "parameters": run.parameters.astype(
            np.float32
        )
    }
    _write(out / "model.safetensors", save(tensors, metadata={"features": names, "evidence": "SIMULATED"}))
    _write(out / "root.json", run.parties.anchor)
    _write(out / "policy.bundle", run.parties.bundle)
    for number, receipt in enumerate(run.facts.receipts, 1):
        _write(out / "receipts" / f"{number:04d}.cbor", receipt)
    _write(out / "log.cbor", cbor.encode(list(run.facts.leaves)))
    _write(out / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())


def _write(path: Path, data: bytes) -> None:
    make_folder(path.parent)
    write_file(path, data)
