"""From a plan, a base artifact and a site's rows to the update that the node will mask.

Counters are exact integers; a real-valued statistic enters as round(value * 2^20), so sums over sites are
exact sums of what the sites sent.
"""

import numpy as np

from crimson_node.data.rows import Floats, SurvivalRows
from crimson_node.learning.learner import learner_of
from crimson_node.learning.local_steps import LocalChange, train
from crimson_node.learning.plan import MICRO, TRAINED, TrainingPlan
from crimson_node.learning.private_steps import private_steps
from crimson_node.learning.record_privacy import RecordSlopes, private_change
from crimson_node.learning.scoring import combine, score_site
from crimson_node.learning.standardise import Standardiser, site_moments
from crimson_node.member import Update
from crimson_protocol.artifact import MAX_ARTIFACT, Artifact
from crimson_protocol.entropy import Entropy
from crimson_protocol.errors import PolicyRefusal
from crimson_protocol.policy.document import ModelRules
from crimson_protocol.policy.privacy_rules import PrivacyRules
from crimson_protocol.refusal import Refusal
from crimson_protocol.transcript import model_digest

FRACTION = 1 << 20


def contribute(
    rules: ModelRules, plan: TrainingPlan, base: bytes, rows: SurvivalRows, entropy: Entropy
) -> Update:
    """The update of one site for one round of `rules.model` on the artifact `base`.

    `rows` are already scaled where the plan wants it. `entropy` orders batches and draws private samples.
    """
    empty = np.empty(0, np.float32)
    if plan.task == "moments":
        return Update(rules.model, model_digest(base), empty, 0, _moments(rows))
    theta = Artifact.from_bytes(base, MAX_ARTIFACT).vector().astype(np.float64)
    if plan.task in TRAINED:
        return _train(rules, plan, theta, model_digest(base), rows, entropy)
    lanes = score_site(learner_of(plan).risk(theta, rows.features), rows, plan.grid).to_lanes()
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
    """Training loss of the model that a round started from; None where updates carry none, or it is over nothing."""
    counts = Artifact.from_bytes(artifact, MAX_ARTIFACT).counts()
    return counts[1] / FRACTION / counts[0] if counts and counts[0] else None


def _moments(rows: SurvivalRows) -> tuple[int, ...]:
    count, total, squares = site_moments(rows.training().features)
    return (count, *map(_fixed, [*total, *squares]))


def _train(
    rules: ModelRules,
    plan: TrainingPlan,
    theta: Floats,
    digest: bytes,
    rows: SurvivalRows,
    entropy: Entropy,
) -> Update:
    training, learner = rows.training(), learner_of(plan)
    count = learner.count(training)
    if rules.privacy is not None and rules.privacy.unit == "record":
        return _private(rules, rules.privacy, plan, theta, digest, training, entropy)
    moved = LocalChange(np.zeros_like(theta), 1.0)
    if count:
        moved = train(theta, learner.slope(training, plan.l2), len(training), plan.local, entropy)
    divided = moved.normalisation if rules.strategy == "fednova" else 1.0
    counters = (count, _fixed(learner.loss(theta, training) * count)) if plan.losses else ()
    return Update(
        model=rules.model,
        model_digest=digest,
        parameters=(moved.change / divided).astype(np.float32),
        weight=_weight(rules, plan, len(training), count),
        counters=counters,
        steps=divided,
    )


def _weight(rules: ModelRules, plan: TrainingPlan, rows: int, count: int) -> int:
    """Where nothing can be learnt a site takes part, so that nobody hears of it, but with weight zero; a private mean
    is over a public number of nodes, so there its zero counts like any other update."""
    if rules.privacy is not None:
        return 1
    if not count:
        return 0
    return min(rows, rules.numbers.weight_cap) if plan.weights == "rows" else 1


def _private(
    rules: ModelRules,
    privacy: PrivacyRules,
    plan: TrainingPlan,
    theta: Floats,
    digest: bytes,
    training: SurvivalRows,
    entropy: Entropy,
) -> Update:
    """Minus the sum of clipped slopes over a secret Poisson sample, or a change of noisy local steps over such samples.
    Its weight is the same for every site, and it carries no counter: both would tell of records."""
    if plan.task != "hazard":
        raise PolicyRefusal(Refusal.UNSOUND_POLICY, f"the task {plan.task} has no slope per record")
    model, rows = plan.hazard, len(training)

    def slopes_at(point: Floats) -> RecordSlopes:
        return lambda places: model.record_gradients(point, training.at(places), plan.l2)

    if privacy.at_nodes:
        # Without rows a site takes its steps like any other: noise hides that too.
        change = private_steps(theta, slopes_at, rows, plan.local, privacy, entropy)
    else:
        clip, sampling = privacy.record_clip_micro / MICRO, privacy.sampling_micro
        change = private_change(slopes_at(theta), rows, model.parameters, clip, sampling, entropy)
    return Update(rules.model, digest, change.astype(np.float32), 1)


def _fixed(value: float) -> int:
    return round(float(value) * FRACTION)
