"""Which strategies, robust rules, sketches and privacy may stand together, model by model (U6 to U13, U17 to U20).

docs/strategies.md walks every combination; a test walks that table.
"""

from collections.abc import Iterator

from crimson_protocol.errors import PeerFault
from crimson_protocol.policy.document import SERVER_STRATEGIES, ModelRules, Policy
from crimson_protocol.policy.plan import MAX_PLAN, TrainingPlan
from crimson_protocol.policy.privacy import multiplier_micro
from crimson_protocol.policy.privacy_rules import LEAST_STEP_MULTIPLIER

Reasons = Iterator[str]

SKETCH_COMPRESSION = 16
EVERY_RECORD = 1_000_000
MAX_EPSILON, MIN_DELTA_EXPONENT, MAX_DELTA_EXPONENT = 100_000, 2, 12

# Rules that compare several updates or bucket means, so one bare sum gives them nothing to compare.
COMPARING = {"trimmed-mean", "median", "geometric-median", "krum", "multi-krum", "centered-clipping"}
# Rules whose decision about one node depends on the other nodes' updates.
DEPENDENT = {"geometric-median", "krum", "multi-krum", "sketch-filter", "centered-clipping"}
# Rules that take or leave whole nodes.
REJECTING = {"norm-bound", "krum", "multi-krum", "sketch-filter"}
NEAREST = {"krum", "multi-krum"}


def robust_rule_over_one_sum(policy: Policy, rules: ModelRules) -> Reasons:
    """U6: a robust rule needs several values, and holds only up to its breakdown point."""
    if rules.robust_rule in COMPARING:
        values = _values(policy, rules)
        if values == 1:
            yield f"{rules.robust_rule} over one bare sum filters nothing"
        spare = 3 if rules.robust_rule in NEAREST else 1
        if 2 * rules.robust_tolerance + spare > values:
            yield f"{rules.robust_rule} over {values} values cannot tolerate {rules.robust_tolerance} bad ones"
    if rules.robust_rule == "norm-bound" and rules.numbers.bucket_size is None:
        yield "a norm bound on one bare sum binds nobody"
    if rules.robust_rule == "sketch-filter":
        if rules.sketch is None:
            yield "a sketch filter without sketches filters nothing"
        if 2 * rules.robust_tolerance + 3 > (nodes := len(policy.members(rules.model))):
            yield f"a sketch filter over {nodes} nodes cannot tolerate {rules.robust_tolerance} bad ones"
    if rules.robust_rule == "centered-clipping" and not rules.radius_micro:
        yield "centered clipping needs a radius above 0"
    if rules.mixing and rules.robust_rule not in COMPARING:
        yield f"nearest-neighbour mixing before {rules.robust_rule} changes nothing that matters"
    if rules.strategy == "sum" and rules.robust_rule != "none":
        yield "a released sum of counters has no robust rule"
    if rules.strategy == "fednova" and rules.robust_rule != "none":
        yield "fednova divides by claimed steps, which no robust rule filters"


def enclave_clip_over_a_sum(policy: Policy, rules: ModelRules) -> Reasons:
    """U7: clipping the cohort's sum bounds no single contribution."""
    if rules.enclave_clip and rules.numbers.bucket_size is None:
        yield "an enclave-side clip over one bare sum bounds no node's share of it"


def partial_likelihood_with_record_privacy(policy: Policy, rules: ModelRules) -> Reasons:
    """U8: a record sits in other records' risk sets, so clipping per record bounds nothing."""
    if rules.privacy and rules.privacy.unit == "record" and rules.loss == "cox-partial-likelihood":
        yield "the Cox partial likelihood has no record-level differential privacy; use the discrete hazard"


def rejection_with_record_privacy(policy: Policy, rules: ModelRules) -> Reasons:
    """U9: leaving a whole node in or out moves the result by the node, not by one of its records."""
    privacy = rules.privacy
    if privacy is None or privacy.at_nodes:
        return
    if privacy.unit == "record" and privacy.charge != "node" and rules.robust_rule in REJECTING:
        yield f"{rules.robust_rule} with record-level privacy must be charged at node sensitivity"


def dependent_filter_with_central_privacy(policy: Policy, rules: ModelRules) -> Reasons:
    """U10: the choice leaks more than the noise on the result covers."""
    if not rules.privacy:
        return
    if rules.privacy.at_nodes:
        # Sketches are shown, and flags published, of attempts that nobody is charged for.
        if rules.robust_rule == "sketch-filter":
            yield "a sketch filter shows private updates before they are charged"
        return
    if rules.privacy.noise == "buckets":
        # Noise on a bucket comes too late for whom the verdict, which is public, has left out of it.
        if rules.robust_rule == "sketch-filter":
            yield "a sketch filter chooses before any noise is added; no noise covers that choice"
        return
    if rules.robust_rule in DEPENDENT:
        yield f"{rules.robust_rule} chooses by other nodes' updates; central noise does not cover that choice"
    elif rules.mixing:
        yield "nearest-neighbour mixing chooses by other nodes' updates; central noise does not cover that choice"


def disclosure_with_simulated_evidence(policy: Policy, rules: ModelRules) -> Reasons:
    """U11: without hardware, whoever runs the enclave sees what the enclave sees."""
    if "sim" not in policy.evidence.kinds:
        return
    shown = [("sketches", rules.sketch is not None), ("single-updates", rules.numbers.bucket_size == 1)]
    for name, used in shown:
        if used and not {name, "simulated"} <= set(rules.disclosures):
            yield f"{name} with simulated evidence: the policy must declare both {name} and simulated"


def sketches(policy: Policy, rules: ModelRules) -> Reasons:
    """U12: a sketch must compress at least 16-fold, cover the whole vector, and be looked at."""
    if rules.sketch is None:
        return
    buckets, rows = rules.sketch.buckets, rules.sketch.rows
    width = buckets // rows if rows else 0
    if rows != 4 or width * rows != buckets or width < 2 or width & (width - 1):
        yield "a sketch has 4 rows, each of a power of two of buckets"
    if SKETCH_COMPRESSION * buckets > rules.numbers.parameters:
        yield f"{buckets} sketch buckets compress less than {SKETCH_COMPRESSION}-fold"
    if "sketches" not in rules.disclosures:
        yield "sketches show the enclave part of every update; the policy must declare sketches"
    if rules.robust_rule != "sketch-filter":
        yield "sketches that no sketch filter reads show updates for nothing"
    if rules.numbers.counters or rules.strategy == "fednova":
        yield "a sketched vector holds parameters and weight alone: no counters and no normalisation"
    if not rules.sketch.every:
        yield "sketch every how many rounds? 1 or more"


def counters_released_raw(policy: Policy, rules: ModelRules) -> Reasons:
    """U13: counters are released exactly, so they stand under no private mechanism."""
    if rules.strategy == "sum" and (rules.numbers.parameters or rules.privacy):
        yield "strategy sum releases exact counters: it takes no parameters and gives no differential privacy"
    elif rules.privacy and rules.numbers.counters:
        yield "counters are released exactly, which no privacy budget covers: a private model carries none"


def strategy_settings(policy: Policy, rules: ModelRules) -> Reasons:
    """U17: a strategy has the settings it needs, and a setting that would be left out is an error."""
    server, cap = rules.server, rules.numbers.steps_cap
    wanted = {rules.strategy, *rules.alternatives}
    if rules.alternatives and not wanted <= set(SERVER_STRATEGIES):
        yield f"only {', '.join(SERVER_STRATEGIES)} may follow one another: others change what nodes compute"
    if wanted & {"fedavgm", "fedadam", "fedyogi"} and not server.momentum_micro:
        yield "fedavgm, fedadam and fedyogi need a momentum above 0"
    if wanted & {"fedadam", "fedyogi"} and not (server.second_micro and server.adaptivity_micro):
        yield "fedadam and fedyogi need a second moment decay and an adaptivity above 0"
    if rules.strategy != "sum" and not server.rate_micro:
        yield "a server learning rate of 0 learns nothing"
    if (rules.strategy == "fednova") is not bool(cap):
        yield "steps_cap belongs to fednova: it bounds the steps that a node may claim"
    plan = _plan(rules)
    held = plan is not None and bool(plan.proximal_micro)
    if plan is not None and (rules.strategy == "fedprox") is not held and rules.strategy != "fednova":
        yield "the plan's proximal term and the strategy fedprox belong together"


def privacy_settings(policy: Policy, rules: ModelRules) -> Reasons:
    """U18: a privacy rule says what one unit can do, and its noise is above 0."""
    privacy, numbers = rules.privacy, rules.numbers
    if privacy is None:
        if numbers.noise_micro:
            yield "noise without a privacy budget buys nothing"
        return
    if not 0 < privacy.epsilon_thousandths <= MAX_EPSILON:
        yield "epsilon must lie above 0 and at most at 100"
    if not MIN_DELTA_EXPONENT <= privacy.delta_exponent <= MAX_DELTA_EXPONENT:
        yield f"delta must lie between 10^-{MAX_DELTA_EXPONENT} and 10^-{MIN_DELTA_EXPONENT}"
    if not privacy.releases:
        yield "the budget affords no release: fewer rounds cannot be asked for"
    if rules.strategy == "fednova":
        yield "fednova divides by a sum of the nodes' claims, which no noise covers"
    if numbers.weight_cap != 1:
        yield "weights by rows are not covered by the noise: a private model has weight_cap 1"
    yield from _unit_settings(rules)
    yield from _noise_settings(rules)


def _noise_settings(rules: ModelRules) -> Reasons:
    privacy = rules.privacy
    if privacy is None:
        return
    if not privacy.at_nodes:
        if privacy.step_multiplier_micro or privacy.steps != 1:
            yield "noise of local steps belongs to noise at the nodes: set 0, and 1 step"
    else:
        if (privacy.unit, privacy.charge) != ("record", "record"):
            yield "a node's own noise hides its records from others, and is charged for a record"
        if rules.numbers.noise_micro:
            yield "noise at the nodes is theirs alone: the enclave adds none"
        if not privacy.steps:
            yield "noise at the nodes is drawn in local steps: 1 or more"
        if 0 < privacy.step_multiplier_micro < LEAST_STEP_MULTIPLIER:
            yield "noise of a local step is at least half the record clip: fewer steps, or more noise"


def _unit_settings(rules: ModelRules) -> Reasons:
    privacy = rules.privacy
    if privacy is None:
        return
    if privacy.unit == "record":
        if not privacy.record_clip_micro or not privacy.divisor or not privacy.sampling_micro:
            yield "record-level privacy needs a record clip, a public divisor and a sampling probability above 0"
            return
        if rules.loss not in ("discrete-hazard", "cross-entropy", "squared-error", "cox-partial-likelihood"):
            yield f"record-level privacy needs a loss that is a sum over records, not {rules.loss}"
        if privacy.charge == "node" and privacy.sampling_micro != EVERY_RECORD:
            yield "charged at node sensitivity nothing is gained by sampling records: set sampling to 1"
    elif privacy.record_clip_micro or privacy.divisor or privacy.sampling_micro != EVERY_RECORD:
        yield "record clip, divisor and sampling belong to the unit record: set 0, 0 and 1"
    if not multiplier_micro(rules):
        yield "privacy without noise protects nobody"


def bounds_with_privacy(policy: Policy, rules: ModelRules) -> Reasons:
    """U19: one node's change must not take a whole bucket in or out where the noise covers one node."""
    size, privacy = rules.numbers.bucket_size, rules.privacy
    if privacy is None or privacy.at_nodes or size in (None, 1) or rules.enclave_clip:
        return
    if privacy.noise != "buckets" or rules.robust_rule == "norm-bound":
        yield "leaving out a bucket beyond the bound moves more than one node's share: set enclave_clip"


def losses_of_plans(policy: Policy, rules: ModelRules) -> Reasons:
    """U20: numbers and loss are those of the plan, which nodes carry out."""
    plan = _plan(rules)
    if plan is None:
        if rules.plan:
            yield "the training plan cannot be read"
        return
    if (plan.parameters, plan.counters) != (rules.numbers.parameters, rules.numbers.counters):
        yield "parameters and counters are not those of the plan"
    loss = {"cox": "cox-partial-likelihood", "hazard": "discrete-hazard"}.get(plan.task, "none")
    if loss != rules.loss:
        yield f"the task {plan.task} has the loss {loss}, not {rules.loss}"
    if rules.privacy is None:
        return
    if plan.scale_model is not None:
        yield "released moments are not covered by the privacy budget: scale features by public ranges"
    if rules.privacy.unit == "record" and (plan.steps, plan.batch) != (rules.privacy.steps, 0):
        yield f"record privacy samples rows in each of {rules.privacy.steps} charged steps: set steps so, batch 0"


COMBINATIONS = (
    robust_rule_over_one_sum,
    enclave_clip_over_a_sum,
    partial_likelihood_with_record_privacy,
    rejection_with_record_privacy,
    dependent_filter_with_central_privacy,
    disclosure_with_simulated_evidence,
    sketches,
    counters_released_raw,
    strategy_settings,
    privacy_settings,
    bounds_with_privacy,
    losses_of_plans,
)


def _plan(rules: ModelRules) -> TrainingPlan | None:
    try:
        return TrainingPlan.from_bytes(rules.plan, MAX_PLAN) if rules.plan else None
    except PeerFault:
        return None


def _values(policy: Policy, rules: ModelRules) -> int:
    size = rules.numbers.bucket_size
    return max(1, len(policy.members(rules.model)) // size) if size else 1
