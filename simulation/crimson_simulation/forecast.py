"""What to expect of a run before it starts: the cohort's numbers, and what they tolerate and disclose."""

from typing import Any

from rich.table import Table

from crimson_enclave.privacy.accountant import Event, epsilon_thousandths
from crimson_governance.budgets import noise_to_signal
from crimson_protocol.cohort import Numbers, numbers
from crimson_protocol.exposure import EXPOSURE_LIMIT_MICRO, exposure_micro
from crimson_protocol.policy.document import EvidenceRules, ModelRules
from crimson_protocol.policy.privacy import adjacency, multiplier_micro
from crimson_protocol.policy.soundness import refuse_unsound
from crimson_protocol.secret.keys import BoxKey, DualKey, IdentityKey
from crimson_simulation.dataset import PooledData
from crimson_simulation.options import TrainOptions
from crimson_simulation.parties import FEDERATION, models_of, now
from crimson_simulation.policy_writer import SiteKeys, roster, write_policy
from crimson_simulation.public_facts import public_facts
from crimson_simulation.summary import privacy_warnings
from crimson_simulation.terminal import noise_row

SCHEMA = "crimson/train-forecast/1"


def forecast(pooled: PooledData, options: TrainOptions) -> dict[str, Any]:
    """The forecast. Raises PolicyRefusal where the options would make an unsound policy."""
    names = [site.name for site in pooled.sites]
    models, _ = models_of(pooled, options, public_facts(pooled))
    rules = models[0]
    _refuse(models, names)
    knobs = rules.numbers
    cohort = numbers(len(names), len(names), knobs.corrupt, knobs.dropout)
    return {
        "schema": SCHEMA,
        "nodes": len(names),
        "parameters": knobs.parameters,
        "rounds": options.steps,
        "corrupt": cohort.corrupt,
        "threshold": cohort.threshold,
        "quorum": cohort.quorum,
        "drops_tolerated": _drops_tolerated(len(names), cohort, knobs.min_cohort),
        "smallest_cohort": knobs.min_cohort,
        "disclosures": list(rules.disclosures),
        "privacy": _privacy(rules, len(names)),
        "robust_rule": rules.robust_rule,
        "values_compared": _values(rules, len(names)),
        "bad_nodes_tolerated": rules.robust_tolerance,
        "sketches": _sketches(rules, options.steps),
        "quantum": knobs.clip_micro / 1e6 / 2**knobs.value_bits,
        "warnings": [*pooled.warnings, *privacy_warnings(rules, pooled)],
    }


def _privacy(rules: ModelRules, nodes: int) -> dict[str, Any] | None:
    """What releases will cost, by the accountant that the enclave charges by."""
    if rules.privacy is None:
        return None
    privacy, event = rules.privacy, Event(multiplier_micro(rules), rules.privacy.sampling_micro)
    exponent = privacy.delta_exponent
    after = sorted({count for count in (1, 10, 50, privacy.releases) if count <= privacy.releases})
    return {
        "unit": privacy.unit,
        "adjacency": adjacency(privacy),
        "delta": 10.0**-exponent,
        "budget": privacy.epsilon_thousandths / 1000,
        "noise": privacy.noise,
        "charged_steps": privacy.steps,
        "noise_multiplier": event.multiplier_micro / 1e6,
        "sampling": event.sampling_micro / 1e6,
        "epsilon_after": {
            str(count): epsilon_thousandths({event: count * privacy.steps}, exponent) / 1000
            for count in after
        },
        "rounds_afforded": privacy.releases,
        "noise_to_signal": round(noise_to_signal(rules, privacy, nodes), 4),
    }


def _values(rules: ModelRules, nodes: int) -> int:
    """How many values a robust rule compares."""
    size = 1 if rules.sketch else rules.numbers.bucket_size
    return nodes // size if size else 1


def _sketches(rules: ModelRules, rounds: int) -> dict[str, Any] | None:
    if rules.sketch is None:
        return None
    each = exposure_micro(rules)
    return {
        "buckets": rules.sketch.buckets,
        "exposure_each": each / 1e6,
        "exposure_of_run": each * rounds / 1e6,
        "rounds_until_limit": EXPOSURE_LIMIT_MICRO // each,
    }


def _drops_tolerated(nodes: int, cohort: Numbers, smallest: int) -> int | None:
    """Sites that may vanish in mid-round; None on a sparse graph, where it depends on who vanishes."""
    if not cohort.dense:
        return None
    return nodes - max(cohort.threshold, cohort.quorum, smallest)


def _refuse(models: list[ModelRules], names: list[str]) -> None:
    """Load-time soundness, with throw-away keys: the refusal must come before any training."""
    keys = [
        SiteKeys(IdentityKey(bytes([1, index % 256, index // 256]) + bytes(29)), BoxKey(_seed(index)))
        for index in range(len(names))
    ]
    root = DualKey(bytes(64)).public
    evidence = EvidenceRules(("sim",), (bytes(32),), (root,), ())
    refuse_unsound(write_policy(FEDERATION, roster(names, keys), bytes(32), evidence, models, now()))


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
    _privacy_rows(table, expected["privacy"])
    if expected["sketches"] is not None:
        sketches = expected["sketches"]
        shown = f"of every update, limit 0.25 after {sketches['rounds_until_limit']} rounds"
        table.add_row("sketches show", f"{sketches['exposure_of_run']:.3f}", shown)
    return table


def _privacy_rows(table: Table, privacy: dict[str, Any] | None) -> None:
    if privacy is None:
        table.add_row("privacy budget", "none", "sums are exact: no noise hides a single row")
        return
    terms = f"per {privacy['unit']}, delta {privacy['delta']:.0e}, {privacy['adjacency']}"
    for count, epsilon in privacy["epsilon_after"].items():
        table.add_row(f"epsilon after {count}", f"{epsilon:.3f}", terms)
    events = f"{privacy['charged_steps']} events" if privacy["charged_steps"] > 1 else "1 event"
    table.add_row(
        "budget", f"{privacy['budget']:g}", f"of {privacy['rounds_afforded']} rounds, {events} each"
    )
    table.add_row(*noise_row(privacy))
    warning = " (more noise than signal)" if privacy["noise_to_signal"] > 1 else ""
    table.add_row("noise to clip", f"{privacy['noise_to_signal']:.2f}", f"on the mean update{warning}")
