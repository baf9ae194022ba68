"""The summary of a run: the keys that documentation and outside checks rely on, and the files beside it."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from crimson_protocol.log import MerkleLog
from crimson_protocol.policy.document import ModelRules
from crimson_protocol.receipt import verify_receipt
from crimson_protocol.wire import cbor
from crimson_simulation.dataset import PooledData
from crimson_simulation.options import TrainOptions
from crimson_simulation.policy_writer import MODEL
from crimson_simulation.survival import SurvivalRun

SCHEMA = "crimson/train-summary/1"


def summarise(run: SurvivalRun, pooled: PooledData, options: TrainOptions) -> dict[str, Any]:
    """Everything measured in this run; nothing else."""
    federation, engine = run.federation, run.engine
    local = {name: scores["concordance"] for name, scores in run.local.items()}
    known = [value for value in local.values() if value is not None]
    attester = federation.session.instance.attester
    return {
        "schema": SCHEMA,
        "model": "survival",
        "strategy": options.strategy,
        "rounds": options.rounds,
        "nodes": len(federation.nodes),
        "sites": [node.name for node in federation.nodes],
        "features": list(pooled.declaration.feature_names),
        "left_out": list(pooled.identifiers),
        "dropped": [{"round": drop.round, "node": drop.node, "phase": drop.phase} for drop in engine.dropped],
        "refused": sorted({f"{fault.culprit}: {fault.code.value}" for fault in engine.refusals}),
        "secure": True,
        "sum_matches_plain": federation.witness.sum_matches_plain,
        "evidence": {
            "kind": "sim",
            "simulated": True,
            "isolated": attester.isolated,
            "measures": {measure.name: measure.enforced for measure in attester.measures},
        },
        "privacy": None,
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
            "sitewise": dict(run.scores),
        },
        "policy": _policy(federation.policy.rules(MODEL)),
        "seconds": {**run.seconds, "total": round(sum(run.seconds.values()), 3)},
        "bytes": {
            "control_up": engine.traffic.control_up,
            "vectors_up": engine.traffic.vectors_up,
            "down": engine.traffic.down,
        },
        "receipts": len(federation.session.receipts),
        "log": _log(run),
        "warnings": [*pooled.warnings, *_warnings(federation.policy.rules(MODEL))],
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
    }
    return [text for name, text in texts.items() if name in rules.disclosures]


def _log(run: SurvivalRun) -> dict[str, Any]:
    """Size and root of the log, checked by building the tree anew and verifying every receipt's signatures."""
    session = run.federation.session
    rebuilt = MerkleLog()
    for leaf in session.log.leaves:
        rebuilt.append(leaf)
    checkpoint = session.log.checkpoint()
    for receipt in session.receipts:
        verify_receipt(receipt, session.instance.signing.public)
    verified = (rebuilt.size, rebuilt.root()) == (checkpoint.size, checkpoint.root)
    return {"size": checkpoint.size, "root": checkpoint.root.hex(), "verified": verified}


def write_outputs(run: SurvivalRun, summary: dict[str, Any], pooled: PooledData, out: Path) -> None:
    """summary.json, model.safetensors, policy, receipts and log under `out`; each file whole or absent."""
    names = json.dumps(list(pooled.declaration.feature_names))
    tensors = {"coefficients": run.parameters.astype(np.float32)}
    _write(out / "model.safetensors", save(tensors, metadata={"features": names, "evidence": "SIMULATED"}))
    _write(out / "policy.cbor", run.federation.signed_policy)
    for number, receipt in enumerate(run.federation.session.receipts, 1):
        _write(out / "receipts" / f"{number:04d}.cbor", receipt)
    _write(out / "log.cbor", cbor.encode(run.federation.session.log.leaves))
    _write(out / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
