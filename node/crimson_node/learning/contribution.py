"""From a plan, a base artifact and a site's rows to the update that the node will mask.

Counters are exact integers; a real-valued statistic enters as round(value * 2^20), so sums over sites are
exact sums of what the sites sent.
"""

import numpy as np

from crimson_node.data.rows import Floats, SurvivalRows
from crimson_node.learning import cox
from crimson_node.learning.plan import TrainingPlan
from crimson_node.learning.scoring import combine, lane_names, score_site
from crimson_node.learning.standardise import Standardiser, site_moments
from crimson_node.member import Update
from crimson_protocol.artifact import MAX_ARTIFACT, Artifact
from crimson_protocol.policy.document import ModelRules
from crimson_protocol.transcript import model_digest

FRACTION = 1 << 20
LOSS_COUNTERS = 2


def counters_of(plan: TrainingPlan) -> int:
    """How many counters an update of this plan carries."""
    match plan.task:
        case "moments":
            return 1 + 2 * plan.declaration.dimension
        case "cox":
            return LOSS_COUNTERS
        case _:
            return len(lane_names(plan.grid))


def contribute(rules: ModelRules, plan: TrainingPlan, base: bytes, rows: SurvivalRows) -> Update:
    """The update of one site for one round of `rules.model` on the artifact `base`.

    `rows` are already standardised where the plan wants it.
    """
    empty = np.empty(0, np.float32)
    match plan.task:
        case "moments":
            return Update(rules.model, model_digest(base), empty, 0, _moments(rows))
        case "cox":
            return _train(rules, plan, base, rows)
        case _:
            theta = Artifact.from_bytes(base, MAX_ARTIFACT).vector().astype(np.float64)
            lanes = score_site(rows.features @ theta, rows, plan.grid).to_lanes()
            return Update(rules.model, model_digest(base), empty, 0, tuple(map(_fixed, lanes)))


def standardised(rows: SurvivalRows, moments: bytes) -> SurvivalRows:
    """The rows with features centred and scaled by a released artifact of the task `moments`."""
    counts = Artifact.from_bytes(moments, MAX_ARTIFACT).counts()
    total, squares = np.array_split(np.array(counts[1:], np.float64) / FRACTION, 2)
    return rows.with_features(Standardiser.from_moments(counts[0], total, squares).apply(rows.features))


def released_scores(artifact: bytes, grid: Floats) -> dict[str, float | int | None]:
    """The federation's scores from a released artifact of the task `cox-score`."""
    counts = Artifact.from_bytes(artifact, MAX_ARTIFACT).counts()
    return combine([count / FRACTION for count in counts], grid)


def released_loss(artifact: bytes) -> float | None:
    """Training loss per event of the model that a `cox` round started from; None without any event."""
    events, loss = Artifact.from_bytes(artifact, MAX_ARTIFACT).counts()
    return loss / FRACTION / events if events else None


def _moments(rows: SurvivalRows) -> tuple[int, ...]:
    count, total, squares = site_moments(rows.training().features)
    return (count, *map(_fixed, [*total, *squares]))


def _train(rules: ModelRules, plan: TrainingPlan, base: bytes, rows: SurvivalRows) -> Update:
    theta = Artifact.from_bytes(base, MAX_ARTIFACT).vector().astype(np.float64)
    training = rows.training()
    events = int(training.event.sum())
    # Without an event there is no likelihood: such a site takes part, so that nobody learns it has none,
    # but with weight zero.
    weight = min(len(training), rules.numbers.weight_cap) if plan.weights == "rows" else 1
    change = cox.train(theta, training, plan.cox) - theta
    loss = _fixed(cox.loss(theta, training) * events)
    return Update(
        model=rules.model,
        model_digest=model_digest(base),
        parameters=change.astype(np.float32),
        weight=weight if events else 0,
        counters=(events, loss),
    )


def _fixed(value: float) -> int:
    return round(float(value) * FRACTION)
