"""67 dialysis units as sites of a linear Cox model: training by the product's node code, scored on pooled rows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from sksurv.metrics import concordance_index_censored

from benchmarks.learning.data import data_file
from benchmarks.learning.open_rounds import MICRO, Floats
from crimson_node.data.rows import SurvivalRows
from crimson_node.data.table import survival_rows
from crimson_node.learning import cox
from crimson_node.learning.cox import CoxPlan
from crimson_node.learning.standardise import Standardiser, site_moments
from crimson_node.member import Update
from crimson_protocol.wire.messages.advertise import RoundNumbers
from crimson_simulation.dataset import read_pooled

MODEL = "survival"
RING_BITS, VALUE_BITS = 32, 16


@dataclass(frozen=True, eq=False)
class Sites:
    """Standardised rows of every site, and the held-out rows of all together."""

    rows: tuple[SurvivalRows, ...] = field(repr=False)
    held_out: SurvivalRows = field(repr=False)

    @property
    def parameters(self) -> int:
        """Features, one coefficient each."""
        return int(self.held_out.features.shape[1])

    @property
    def weight_cap(self) -> int:
        """The power of two at or above the largest site's training rows, as a policy declares it."""
        return 1 << (max(int(site.train.sum()) for site in self.rows) - 1).bit_length()

    def trained(
        self, theta: Floats, plan: CoxPlan, instead: Sequence[SurvivalRows] = ()
    ) -> dict[int, Update]:
        """Every site's update of theta (d,), by place; from the rows `instead`, one entry per site, where given."""
        return {place: _update(theta, rows, plan) for place, rows in enumerate(instead or self.rows)}

    def concordance(self, theta: Floats) -> float:
        """Harrell's concordance of the coefficients theta (d,) on the pooled held-out rows."""
        rows = self.held_out
        return float(concordance_index_censored(rows.event, rows.time, rows.features @ theta)[0])


def dialysis_sites(seed: int) -> Sites:
    """The sites, 30 % of each one's rows held out by the seed, standardised by the training rows' summed moments."""
    path = data_file("dialysis-67-centres", "dialysis.csv")
    pooled = read_pooled(
        path,
        site_column="center",
        time_column="time",
        event_column="event",
        features=("disease", "age", "begin"),
        seed=seed,
    )
    rows = [survival_rows(site.table(), pooled.declaration) for site in pooled.sites]
    scale = Standardiser.from_moments(*site_moments(SurvivalRows.together(rows).training().features))
    scaled = tuple(site.with_features(scale.apply(site.features)) for site in rows)
    return Sites(scaled, SurvivalRows.together(scaled).held_out())


def round_numbers(sites: Sites, clip: float, bucket_size: int | None) -> RoundNumbers:
    """Numbers of a round as a policy of this federation has them. `clip`: L2, in the update's unit."""
    return RoundNumbers(
        parameters=sites.parameters,
        counters=0,
        slices=1,
        ring_bits=RING_BITS,
        value_bits=VALUE_BITS,
        clip_micro=round(clip * MICRO),
        weight_cap=sites.weight_cap,
        bucket_size=bucket_size,
        min_cohort=3,
        corrupt=(1, 5),
        dropout=(1, 10),
        noise_micro=0,
        steps_cap=0,
    )


def _update(theta: Floats, rows: SurvivalRows, plan: CoxPlan) -> Update:
    training = rows.training()
    change = cox.train(theta, training, plan) - theta
    # As everywhere: a site without an event takes part, with weight zero.
    weight = len(training) if training.event.any() else 0
    return Update(MODEL, bytes(32), change.astype(np.float32), weight)


def claimed(updates: Mapping[int, Update], attackers: Collection[int], weight: int) -> dict[int, Update]:
    """The updates, those of the attackers claiming this weight."""
    heavy = {node: replace(updates[node], weight=weight) for node in attackers}
    return {**updates, **heavy}
