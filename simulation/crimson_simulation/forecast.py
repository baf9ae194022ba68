"""What to expect of a run before it starts: the cohort's numbers, and what they tolerate and disclose."""

from typing import Any

from rich.table import Table

from crimson_node.data.table import survival_rows
from crimson_protocol.cohort import Numbers, numbers
from crimson_protocol.policy.document import EvidenceRules
from crimson_protocol.policy.soundness import refuse_unsound
from crimson_protocol.secret.keys import BoxKey, DualKey, IdentityKey
from crimson_simulation.dataset import PooledData
from crimson_simulation.options import TrainOptions
from crimson_simulation.parties import FEDERATION, now
from crimson_simulation.policy_writer import (
    MODEL,
    SiteKeys,
    initial_artifact,
    model_rules,
    roster,
    round_numbers,
    training_plan,
    write_policy,
)

SCHEMA = "crimson/train-forecast/1"


def forecast(pooled: PooledData, options: TrainOptions) -> dict[str, Any]:
    """The forecast. Raises PolicyRefusal where the options would make an unsound policy."""
    plan = training_plan("cox", pooled, options, ())
    names = [site.name for site in pooled.sites]
    rows = [survival_rows(site.table(), pooled.declaration) for site in pooled.sites]
    knobs = round_numbers(plan, len(names), max(int(site.train.sum()) for site in rows), options)
    rules = model_rules(plan, MODEL, knobs, options, initial_artifact(plan.declaration.dimension))
    _refuse(rules, names)
    cohort = numbers(len(names), len(names), knobs.corrupt, knobs.dropout)
    return {
        "schema": SCHEMA,
        "nodes": len(names),
        "parameters": knobs.parameters,
        "rounds": options.rounds,
        "corrupt": cohort.corrupt,
        "threshold": cohort.threshold,
        "quorum": cohort.quorum,
        "drops_tolerated": _drops_tolerated(len(names), cohort, knobs.min_cohort),
        "smallest_cohort": knobs.min_cohort,
        "disclosures": list(rules.disclosures),
        "privacy": None,
        "robust_rule": rules.robust_rule,
        "bad_nodes_tolerated": rules.robust_tolerance,
        "quantum": knobs.clip_micro / 1e6 / 2**knobs.value_bits,
        "warnings": list(pooled.warnings),
    }


def _drops_tolerated(nodes: int, cohort: Numbers, smallest: int) -> int | None:
    """Sites that may vanish in mid-round; None on a sparse graph, where it depends on who vanishes."""
    if not cohort.dense:
        return None
    return nodes - max(cohort.threshold, cohort.quorum, smallest)


def _refuse(rules: Any, names: list[str]) -> None:
    """Load-time soundness, with throw-away keys: the refusal must come before any training."""
    keys = [
        SiteKeys(IdentityKey(bytes([1, index % 256, index // 256]) + bytes(29)), BoxKey(_seed(index)))
        for index in range(len(names))
    ]
    root = DualKey(bytes(64)).public
    evidence = EvidenceRules(("sim",), (bytes(32),), (root,), ())
    refuse_unsound(write_policy(FEDERATION, roster(names, keys), bytes(32), evidence, [rules], now()))


def _seed(index: int) -> bytes:
    return index.to_bytes(8, "big") + bytes(88)


def forecast_table(expected: dict[str, Any]) -> Table:
    """The forecast for people."""
    title = f"forecast: {expected['nodes']} sites, {expected['rounds']} rounds"
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    table.add_row("parameters", str(expected["parameters"]), f"in quanta of {expected['quantum']:.2e}")
    table.add_row("corrupt", str(expected["corrupt"]), "sites assumed to collude with a broken enclave")
    table.add_row("threshold", str(expected["threshold"]), "shares that rebuild a secret")
    table.add_row("quorum", str(expected["quorum"]), "confirmations that open a sum")
    table.add_row("drops tolerated", str(expected["drops_tolerated"]), "sites that may vanish in a round")
    table.add_row(
        "smallest cohort", str(expected["smallest_cohort"]), "accepted sites below which nothing opens"
    )
    table.add_row(
        "bad sites filtered", str(expected["bad_nodes_tolerated"]), f"robust rule: {expected['robust_rule']}"
    )
    table.add_row("disclosures", ", ".join(expected["disclosures"]) or "none", "beyond the cohort's sum")
    table.add_row("privacy budget", "none", "sums are exact: no noise hides a single row")
    return table
