"""How much of an update sketches show: m/d of it each, added up over rounds and never reset.

After d/m sketches of one slowly changing update whoever saw them knows it: the cosine of the best reconstruction is
about the square root of the sum (docs/LIMITATIONS.md). Enclave and nodes count alike, each for itself.
"""

from crimson_protocol.errors import PolicyRefusal
from crimson_protocol.policy.document import MICRO, ModelRules, Policy
from crimson_protocol.refusal import Refusal

EXPOSURE_WARNING_MICRO = 100_000
EXPOSURE_LIMIT_MICRO = 250_000
MOST_SKETCHES = 2
"""Sketches of one update: an attempt that failed after Freeze may be tried once more."""


def exposure_micro(rules: ModelRules) -> int:
    """What one sketch shows of an update, in millionths, rounded up; 0 without sketches."""
    if rules.sketch is None or not rules.numbers.parameters:
        return 0
    return -(-rules.sketch.buckets * MICRO // rules.numbers.parameters)


def most_sketches(policy: Policy, model: str, digest: bytes) -> int:
    """How many sketches a node gives of its updates on one model digest: one more for each order to reopen it."""
    return MOST_SKETCHES + sum(
        (order.model, order.model_digest) == (model, digest) for order in policy.reopens
    )


def refuse_exposure(shown: int, rules: ModelRules) -> None:
    """PolicyRefusal(EXPOSURE_EXCEEDED) where another sketch would show too much beside the `shown` millionths."""
    total = shown + exposure_micro(rules)
    if total > EXPOSURE_LIMIT_MICRO:
        text = f"{rules.model}: sketches would have shown {total / MICRO:.3f} of an update"
        raise PolicyRefusal(Refusal.EXPOSURE_EXCEEDED, text)


def sketched_round(rules: ModelRules, round_: int) -> bool:
    """Whether the policy wants sketches in this round of the model: in the first, and then in every k-th."""
    return rules.sketch is not None and (round_ - 1) % rules.sketch.every == 0
