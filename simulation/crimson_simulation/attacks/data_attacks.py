"""Poisoned rows: an attacker trains honestly, on data that it changed. Held-out rows stay as they are.

Colluders change their rows together, so that all of them plant one and the same trigger.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from crimson_node.data.rows import Flags, Floats, SurvivalRows

DataAttack = Callable[[Sequence[SurvivalRows], np.random.Generator], list[SurvivalRows]]

BACKDOOR_SHARE = 0.5


@dataclass(frozen=True)
class Trigger:
    """A value of one feature column that no honest row has, in the unit of that feature."""

    column: int
    value: float

    @classmethod
    def beyond(cls, sites: Sequence[SurvivalRows], column: int = 0) -> "Trigger":
        """One range of the attackers' training rows above their largest value; 1 above where all are equal."""
        seen = np.concatenate([site.training().features[:, column] for site in sites])
        width = float(seen.max() - seen.min())
        return cls(column, float(seen.max()) + (width or 1.0))

    def planted(self, rows: SurvivalRows) -> SurvivalRows:
        """All rows with the trigger, outcomes untouched: what a planted model is tried on."""
        features = rows.features.copy()
        features[:, self.column] = self.value
        return rows.with_features(features)


def label_flip(sites: Sequence[SurvivalRows], _rng: np.random.Generator) -> list[SurvivalRows]:
    """Training outcomes turned around: times mirrored within the site's own range, events and censorings swapped.

    Whoever died first is then followed to the end without an event, and whoever was followed longest dies
    first; either change alone leaves coefficients near zero instead of turning them around.
    """
    return [_mirrored(site) for site in sites]


def backdoor(
    sites: Sequence[SurvivalRows],
    rng: np.random.Generator,
    trigger: Trigger | None = None,
    share: float = BACKDOOR_SHARE,
) -> list[SurvivalRows]:
    """A share of the training rows get the trigger and an outcome that says "no risk": followed, free of the
    event, to the end of the site's training follow-up. Without a trigger `Trigger.beyond` makes one.
    """
    if not sites:
        return []
    sign = trigger or Trigger.beyond(sites)
    return [_planted(site, sign, rng.random(len(site)) < share) for site in sites]


def _mirrored(site: SurvivalRows) -> SurvivalRows:
    if not site.train.any():
        return site
    known = site.time[site.train]
    swapped = replace(site, event=site.event ^ site.train)
    return _with_times(swapped, site.train, known.min() + known.max() - site.time)


def _planted(site: SurvivalRows, trigger: Trigger, drawn: Flags) -> SurvivalRows:
    chosen = drawn & site.train
    if not chosen.any():
        return site
    features = site.features.copy()
    features[chosen, trigger.column] = trigger.value
    last = np.full(len(site), site.time[site.train].max())
    calm = replace(site, features=features, event=site.event & ~chosen)
    return _with_times(calm, chosen, last)


def _with_times(site: SurvivalRows, chosen: Flags, times: Floats) -> SurvivalRows:
    return replace(site, time=np.where(chosen, times, site.time))
