"""Refusal of unsound combinations, when a policy is written and again whenever it is loaded.

Each rule is one function that yields its reasons; all of them are read to the author at once. The table
in docs/PROTOCOL.md ("Unsound combinations") has a row per rule.
"""

from collections.abc import Callable

from crimson_protocol.cohort import bucket_floor, corrupt_count
from crimson_protocol.errors import PolicyRefusal
from crimson_protocol.policy.access import faults
from crimson_protocol.policy.combinations import COMBINATIONS, Reasons
from crimson_protocol.policy.decisions import may_join
from crimson_protocol.policy.document import ModelRules, Policy
from crimson_protocol.policy.privacy import noise_tail
from crimson_protocol.refusal import Refusal

MIN_NODES = 3

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
    nodes = len(policy.members(rules.model))
    if nodes * one + noise_tail(numbers) >= 1 << (numbers.ring_bits - 1):
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
    *COMBINATIONS,
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
