"""Refusal of unsound combinations, when a policy is written and again whenever it is loaded.

Each rule is one function that yields its reasons; all of them are read to the author at once. The table
in docs/PROTOCOL.md ("Unsound combinations") has a row per rule.
"""

from collections.abc import Callable, Iterator

from crimson_protocol.cohort import bucket_floor, corrupt_count
from crimson_protocol.errors import PolicyRefusal
from crimson_protocol.layout import Layout
from crimson_protocol.policy.access import faults
from crimson_protocol.policy.decisions import may_join
from crimson_protocol.policy.document import ModelRules, Policy
from crimson_protocol.refusal import Refusal

# A discrete Gaussian exceeds ten standard deviations with probability below 2^-70.
NOISE_TAIL_SIGMAS = 10
MIN_NODES = 3
SKETCH_COMPRESSION = 16

# Rules that compare several updates or bucket means, so one bare sum gives them nothing to compare.
COMPARING = {
    "trimmed-mean",
    "median",
    "geometric-median",
    "krum",
    "multi-krum",
    "centered-clipping",
    "direction",
}
# Rules whose decision about one node depends on the other nodes' updates.
DEPENDENT = {"geometric-median", "krum", "multi-krum", "sketch-filter", "centered-clipping"}
# Rules that take or leave whole nodes.
REJECTING = {"norm-bound", "direction", "krum", "multi-krum", "sketch-filter"}

Reasons = Iterator[str]
Rule = Callable[[Policy, ModelRules], Reasons]


def knobs_out_of_range(policy: Policy, rules: ModelRules) -> Reasons:
    """U1: the plain bounds that the encoding and the graph rely on."""
    numbers = rules.numbers
    if not 8 <= numbers.value_bits <= 24 or not 8 <= numbers.ring_bits <= 32:
        yield "value_bits must lie in 8..24 and ring_bits in 8..32"
    if not numbers.clip_micro or not numbers.weight_cap or not numbers.slices:
        yield "clip, weight cap and slices must be positive"
    for name, ratio in (("corrupt", numbers.corrupt), ("dropout", numbers.dropout)):
        if ratio[0] >= ratio[1]:
            yield f"{name} must be a ratio below one"
    if numbers.bucket_size == 0:
        yield "a bucket of no node holds no sum"


def corrupt_share(policy: Policy, rules: ModelRules) -> Reasons:
    """U2: beyond a third the quorum of honest nodes cannot exist; none at all is a declared weakness."""
    numerator, denominator = rules.numbers.corrupt
    if 3 * numerator > denominator:
        yield "corrupt must not exceed one third: no quorum of honest nodes would be left"
    if numerator == 0 and "no-corruption" not in rules.disclosures:
        yield "corrupt 0 trusts every node; the policy must declare it as no-corruption"


def cohort(policy: Policy, rules: ModelRules) -> Reasons:
    """U3: enough nodes, of enough organisations, that a sum hides each of them."""
    active = policy.members(rules.model)
    if len(active) < MIN_NODES or rules.numbers.min_cohort < MIN_NODES:
        yield "fewer than three nodes: with two, each learns the other's update"
    least = corrupt_count(len(active), rules.numbers.corrupt) + 3
    if rules.numbers.min_cohort < least:
        yield f"min_cohort {rules.numbers.min_cohort} is below c + 3 = {least} for {len(active)} nodes"
    organisations = {policy.roster[index].organisation for index in active}
    if len(organisations) < rules.numbers.min_cohort:
        yield f"{len(organisations)} organisations cannot make a cohort of {rules.numbers.min_cohort}"


def overflow(policy: Policy, rules: ModelRules) -> Reasons:
    """U4: n·q_max plus the noise's tail must stay below half the ring, in unbounded integers."""
    numbers = rules.numbers
    one = 1 << numbers.value_bits
    tail = -(-NOISE_TAIL_SIGMAS * numbers.noise_micro * one // max(1, numbers.clip_micro))
    nodes = len(policy.members(rules.model))
    if nodes * one + tail >= 1 << (numbers.ring_bits - 1):
        yield f"{nodes} values of {numbers.value_bits} bits overflow {numbers.ring_bits} ring bits"


def small_buckets(policy: Policy, rules: ModelRules) -> Reasons:
    """U5: buckets below c_b + 3, and single updates, are declared disclosures."""
    size = rules.numbers.bucket_size
    if size is None:
        return
    if size == 1 and "single-updates" not in rules.disclosures:
        yield "bucket_size 1 shows single updates inside the enclave; the policy must declare single-updates"
    if 1 < size < bucket_floor(size, rules.numbers.corrupt) and "small-buckets" not in rules.disclosures:
        yield f"bucket_size {size} is below its c + 3; the policy must declare small-buckets"
    if size > (nodes := len(policy.members(rules.model))):
        yield f"bucket_size {size} exceeds the {nodes} active nodes"


def robust_rule_over_one_sum(policy: Policy, rules: ModelRules) -> Reasons:
    """U6: a robust rule needs several values, and holds only up to its breakdown point."""
    if rules.robust_rule in COMPARING:
        size, nodes = rules.numbers.bucket_size, len(policy.members(rules.model))
        values = max(1, nodes // size) if size else 1
        if values == 1:
            yield f"{rules.robust_rule} over one bare sum filters nothing"
        spare = 3 if rules.robust_rule in ("krum", "multi-krum") else 1
        if 2 * rules.robust_tolerance + spare > values:
            yield f"{rules.robust_rule} over {values} values cannot tolerate {rules.robust_tolerance} bad ones"
    if rules.robust_rule == "norm-bound" and rules.numbers.bucket_size is None and rules.sketch is None:
        yield "a norm bound on one bare sum binds nobody"
    if rules.robust_rule == "sketch-filter" and rules.sketch is None:
        yield "a sketch filter without sketches filters nothing"
    if rules.strategy == "sum" and rules.robust_rule != "none":
        yield "a released sum of counters has no robust rule"


def enclave_clip_over_a_sum(policy: Policy, rules: ModelRules) -> Reasons:
    """U7: clipping a sum bounds no single contribution."""
    if rules.enclave_clip and rules.numbers.bucket_size != 1:
        yield "an enclave-side clip over a sum bounds no node's share of it"


def partial_likelihood_with_record_privacy(policy: Policy, rules: ModelRules) -> Reasons:
    """U8: a record sits in other records' risk sets, so clipping per record bounds nothing."""
    if rules.privacy and rules.privacy.unit == "record" and rules.loss == "cox-partial-likelihood":
        yield "the Cox partial likelihood has no record-level differential privacy; use the discrete hazard"


def rejection_with_record_privacy(policy: Policy, rules: ModelRules) -> Reasons:
    """U9: leaving a whole node in or out moves the result by the node, not by one of its records."""
    privacy = rules.privacy
    if privacy and privacy.unit == "record" and privacy.charge != "node" and rules.robust_rule in REJECTING:
        yield f"{rules.robust_rule} with record-level privacy must be charged at node sensitivity"


def dependent_filter_with_central_privacy(policy: Policy, rules: ModelRules) -> Reasons:
    """U10: the choice leaks more than the noise on the result covers."""
    if rules.privacy and rules.robust_rule in DEPENDENT and not rules.privacy.noise_per_bucket:
        yield f"{rules.robust_rule} chooses by other nodes' updates; central noise does not cover that choice"


def disclosure_with_simulated_evidence(policy: Policy, rules: ModelRules) -> Reasons:
    """U11: without hardware, whoever runs the enclave sees what the enclave sees."""
    if "sim" not in policy.evidence.kinds:
        return
    shown = [("sketches", rules.sketch is not None), ("single-updates", rules.numbers.bucket_size == 1)]
    for name, used in shown:
        if used and not {name, "simulated"} <= set(rules.disclosures):
            yield f"{name} with simulated evidence: the policy must declare both {name} and simulated"


def sketch_size(policy: Policy, rules: ModelRules) -> Reasons:
    """U12: a sketch must compress at least 16-fold."""
    if rules.sketch is None:
        return
    if not rules.sketch.rows or not rules.sketch.buckets or rules.sketch.buckets % rules.sketch.rows:
        yield "a sketch's buckets must divide into its rows"
    if SKETCH_COMPRESSION * rules.sketch.buckets > Layout(rules.numbers).length:
        yield f"{rules.sketch.buckets} sketch buckets compress less than {SKETCH_COMPRESSION}-fold"


def counters_released_raw(policy: Policy, rules: ModelRules) -> Reasons:
    """U13: a sum releases exact counters, so it has no parameters and no private mechanism."""
    if rules.strategy == "sum" and (rules.numbers.parameters or rules.privacy):
        yield "strategy sum releases exact counters: it takes no parameters and gives no differential privacy"


def organisation_twice(policy: Policy, rules: ModelRules) -> Reasons:
    """U14: several sites of one organisation may be listed, but a model's nodes are of different ones."""
    owners = [policy.roster[index].organisation for index in policy.members(rules.model)]
    for owner in sorted({name for name in owners if owners.count(name) > 1}):
        yield f"{owner} has more than one active node that may train it: an organisation counts once"


RULES: tuple[Rule, ...] = (
    corrupt_share,
    cohort,
    overflow,
    small_buckets,
    robust_rule_over_one_sum,
    enclave_clip_over_a_sum,
    partial_likelihood_with_record_privacy,
    rejection_with_record_privacy,
    dependent_filter_with_central_privacy,
    disclosure_with_simulated_evidence,
    sketch_size,
    counters_released_raw,
    organisation_twice,
)


def roster_twice(policy: Policy) -> Reasons:
    """U14: one node, one key, once."""
    columns: dict[str, list[str] | list[bytes]] = {
        "node": [entry.node for entry in policy.roster],
        "identity key": [entry.identity_key for entry in policy.roster],
        "encryption key": [entry.encryption_key for entry in policy.roster],
        "operator's key": [entry.key for entry in policy.operators],
    }
    for name, values in columns.items():
        if len(set(values)) < len(values):
            yield f"the roster has one {name} twice"
    if {entry.key for entry in policy.operators} & {entry.identity_key for entry in policy.roster}:
        yield "an operator's key is a node's too"


def listed_against_access(policy: Policy) -> Reasons:
    """U15: who is listed as active must be somebody that the access rules let join."""
    for index in policy.active():
        decision = may_join(policy, policy.roster[index])
        if not decision.allowed:
            yield f"{policy.name(index)} is listed but may not join: {decision.reason}"


def reasons(policy: Policy) -> list[str]:
    """Every reason why the policy is unsound, each with the model it concerns; empty for a sound one."""
    found = list(roster_twice(policy))
    # U16: rules that cannot be read or fail their schema decide nothing, so nothing else can be judged by them.
    broken = [f"access rules: {fault}" for fault in faults(policy.access)]
    if broken:
        return found + broken
    found += listed_against_access(policy)
    for rules in policy.models:
        # The other rules divide by what the first one checks.
        found_here = list(knobs_out_of_range(policy, rules))
        if not found_here:
            found_here = [reason for rule in RULES for reason in rule(policy, rules)]
        found += [f"{rules.model}: {reason}" for reason in found_here]
    return found


def refuse_unsound(policy: Policy) -> None:
    """PolicyRefusal(UNSOUND_POLICY) with every reason, or nothing."""
    if found := reasons(policy):
        raise PolicyRefusal(Refusal.UNSOUND_POLICY, "; ".join(found))
