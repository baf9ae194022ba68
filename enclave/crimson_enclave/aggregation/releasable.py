"""Whether a verdict's open buckets can become a release at all, asked before anybody sees the verdict.

Nodes hold later rounds on a model to the cohort of a verdict that they were shown, and a budget is charged before sums
are opened. So a verdict that no rule can make anything of would be lost, and charged, again and again.
"""

from collections.abc import Sequence

from crimson_enclave.aggregation.private import compares, refuse_too_unlike
from crimson_enclave.aggregation.values import UNFILTERED
from crimson_enclave.robust.tolerance import most_tolerated
from crimson_protocol.errors import PeerFault
from crimson_protocol.policy.document import ModelRules
from crimson_protocol.refusal import Refusal


def refuse_unreleasable(rules: ModelRules, sizes: Sequence[int]) -> None:
    """PeerFault for open buckets of these accepted `sizes`: TOO_MANY_FLAGGED where the robust rule cannot bear its
    tolerance over so few values, OUT_OF_RANGE where they are too unlike to be compared under noise."""
    rule, tolerance = rules.robust_rule, rules.robust_tolerance
    if rule not in UNFILTERED and tolerance > most_tolerated(rule, len(sizes)):
        text = f"{rule} over {len(sizes)} open buckets cannot tolerate {tolerance} bad ones"
        raise PeerFault(Refusal.TOO_MANY_FLAGGED, text)
    if rules.privacy is not None and rules.privacy.noise == "release" and compares(rules):
        refuse_too_unlike(rules, sizes)
