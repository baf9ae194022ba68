"""Local steps that are private before anything leaves the node: DP-SGD with the site's own noise in every step.

Each step is one event of the ledger: a fresh secret Poisson sample, record by record clipped, summed, noised, and
divided by a public divisor. What follows, the encoding, the sum, filters and sketches, only works on private values.
"""

from collections.abc import Callable
from itertools import repeat

from crimson_node.data.rows import Floats
from crimson_node.learning.local_steps import LocalPlan, descend
from crimson_node.learning.record_privacy import MICRO, RecordSlopes, clipped_sum, poisson_sample
from crimson_protocol.entropy import Entropy
from crimson_protocol.policy.privacy_rules import PrivacyRules


def private_steps(
    start: Floats,
    slopes_at: Callable[[Floats], RecordSlopes],
    rows: int,
    plan: LocalPlan,
    privacy: PrivacyRules,
    entropy: Entropy,
) -> Floats:
    """End less start (d,) after `privacy.steps` noisy steps from `start` (d,) over a site of `rows` training rows.

    slopes_at: the records' slopes at a point. Raises CallerFault where the steps diverge.
    """
    # Loaded by the sites that need it: its library is large.
    from crimson_node.learning.step_noise import noisy  # noqa: PLC0415

    clip = privacy.record_clip_micro / MICRO

    def slope(point: Floats) -> Floats:
        places = poisson_sample(rows, privacy.sampling_micro, entropy)
        total = clipped_sum(slopes_at(point), places, len(start), clip)
        return noisy(total, clip, privacy.step_multiplier_micro) / privacy.divisor

    return descend(start, repeat(slope, privacy.steps), plan)
