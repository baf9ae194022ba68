"""How far one protected unit can move the integer sum, and what a round's noise is worth: exact integers throughout.

Everything is in quanta of the encoding, one quantum being clip / 2^value_bits. docs/PROTOCOL.md, "Privacy", derives
the bounds; tests/privacy/test_sensitivity.py looks for vectors that exceed them, and for some that come close.
"""

from dataclasses import replace
from math import isqrt

from crimson_protocol.errors import CallerFault
from crimson_protocol.policy.document import MICRO, ModelRules
from crimson_protocol.policy.privacy_rules import PrivacyRules
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.messages.advertise import RoundNumbers

# A Gaussian exceeds ten standard deviations with probability below 2^-70.
NOISE_TAIL_SIGMAS = 10


def charged_unit(privacy: PrivacyRules) -> str:
    """What the noise must hide: a whole node wherever its update may be left out as a whole."""
    return "node" if "node" in (privacy.unit, privacy.charge) else "record"


def adjacency(privacy: PrivacyRules) -> str:
    """What neighbouring inputs are: one record more or less, or one node's contribution replaced by zero."""
    return {"record": "add-remove", "node": "zero-out"}[charged_unit(privacy)]


def sensitivity_micro(rules: ModelRules) -> int:
    """L2 sensitivity of the summed parameter lanes, in millionths of a quantum, rounded up.

    A node's encoded vector is within one quantum a lane of a vector of norm 2^value_bits, so leaving the node out
    moves the sum by at most 2^value_bits + sqrt(d). One record moves a node's clipped sum by the record's clip, since
    projecting on a ball does not expand; rounding, taken with the same random bits, adds less than one quantum a
    lane. The node computes the projection's factor in float32, to 2^-16 of itself: 2^(value_bits - 15) quanta and one
    more cover that and the vector's own float32. Cutting a bucket's projected sum to integers adds sqrt(d) once more.
    """
    privacy = _privacy(rules)
    numbers = rules.numbers
    rounding = _root_up(numbers.parameters * MICRO**2)
    if charged_unit(privacy) == "node":
        bound = MICRO << numbers.value_bits
    else:
        scaled = privacy.record_clip_micro * MICRO << numbers.value_bits
        inexact = MICRO + (MICRO << max(0, numbers.value_bits - 15))
        bound = -(-scaled // numbers.clip_micro) + inexact
    return bound + rounding + (rounding if rules.enclave_clip else 0)


def sigma_micro(rules: ModelRules) -> int:
    """Standard deviation of the noise, in millionths of a quantum, rounded down."""
    numbers = rules.numbers
    return (numbers.noise_micro * MICRO << numbers.value_bits) // max(1, numbers.clip_micro)


def noise_tail(numbers: RoundNumbers) -> int:
    """Quanta that the noise on one lane does not exceed: ten deviations, rounded up. U4 leaves room for it."""
    return -(-NOISE_TAIL_SIGMAS * (numbers.noise_micro << numbers.value_bits) // max(1, numbers.clip_micro))


def multiplier_micro(rules: ModelRules) -> int:
    """Noise multiplier, in millionths, rounded down: the noise's deviation over the sensitivity.

    Of one local step where nodes add the noise: a record moves its sum of slopes by the record clip at most, exactly.
    """
    privacy = _privacy(rules)
    if privacy.at_nodes:
        return privacy.step_multiplier_micro
    return sigma_micro(rules) * MICRO // sensitivity_micro(rules)


def with_noise(rules: ModelRules, multiplier: int) -> ModelRules:
    """The rules with the least noise that is worth `multiplier` millionths."""
    privacy = _privacy(rules)
    if privacy.at_nodes:
        return replace(rules, privacy=replace(privacy, step_multiplier_micro=multiplier))
    return replace(rules, numbers=replace(rules.numbers, noise_micro=noise_for(rules, multiplier)))


def noise_for(rules: ModelRules, multiplier: int) -> int:
    """The least `noise_micro`, in millionths of the update's unit, that is worth `multiplier` millionths."""
    numbers = rules.numbers
    quanta = -(-multiplier * sensitivity_micro(rules) // MICRO)
    return -(-quanta * numbers.clip_micro // (MICRO << numbers.value_bits)) + 1


def _privacy(rules: ModelRules) -> PrivacyRules:
    if rules.privacy is None:
        raise CallerFault(Refusal.UNSOUND_POLICY, f"{rules.model} has no privacy rules")
    return rules.privacy


def _root_up(square: int) -> int:
    root = isqrt(square)
    return root if root * root == square else root + 1
