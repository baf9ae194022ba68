"""Attacks by their names on the command line, `NAME:SHARE`: what share of the sites attacks, and how."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from crimson_node.data.rows import Floats, SurvivalRows
from crimson_node.data.text_table import nearest
from crimson_node.member import Update
from crimson_protocol.fixed_point import clip_factor
from crimson_simulation.attacks import update_attacks as updates
from crimson_simulation.attacks.data_attacks import DataAttack, backdoor, label_flip
from crimson_simulation.options import BadOption, TrainOptions

UPDATE_ATTACKS: Mapping[str, updates.UpdateAttack] = {
    "sign-flip": updates.sign_flip,
    "flip-at-bound": updates.flip_at_bound,
    "scaling": updates.scaling,
    "noise": updates.noise,
    "alie": updates.alie,
    "inner-product": updates.inner_product,
    "min-max": updates.min_max,
    "edge": updates.edge,
}
ALONE = ("sign-flip", "flip-at-bound", "scaling", "noise")
"""Attacks on updates that go by nothing but the attacker's own."""
DATA_ATTACKS: Mapping[str, DataAttack] = {"label-flip": label_flip, "backdoor": backdoor}
SKETCH_LIARS = "sketch-liars"
"""Attackers who submit reversed updates and sketch the honest ones."""
NAMES = (*UPDATE_ATTACKS, *DATA_ATTACKS, SKETCH_LIARS)
OPTION = "--attack"


@dataclass(frozen=True)
class Attack:
    """One attack of NAMES and the share of sites, above 0 and below 1, that carry it out."""

    name: str
    share: float

    @property
    def lies(self) -> bool:
        """Whether attackers sketch another update than they submit."""
        return self.name == SKETCH_LIARS

    def sites(self, count: int, seed: int) -> tuple[int, ...]:
        """Which of `count` sites attack, ascending: the same for one seed, and at least one honest site left."""
        chosen = min(count - 1, max(1, round(count * self.share)))
        return tuple(sorted(random.Random(f"{seed}/attack").sample(range(count), chosen)))  # noqa: S311

    def on_rows(
        self, sites: Sequence[SurvivalRows], attackers: Sequence[int], seed: int
    ) -> list[SurvivalRows]:
        """All sites' rows, those of the attackers poisoned where this is an attack on data."""
        rows = list(sites)
        if self.name in DATA_ATTACKS:
            poisoned = DATA_ATTACKS[self.name]([rows[index] for index in attackers], _generator(seed, 0))
            for index, changed in zip(attackers, poisoned, strict=True):
                rows[index] = changed
        return rows

    def on_updates(
        self, trained: Mapping[int, Update], attackers: Sequence[int], clip: float, seed: int, round_: int
    ) -> dict[int, Update]:
        """All updates of one round by site, those of the attackers poisoned where this is an attack on updates.

        `clip`: the policy's bound on the L2 norm of an update. Attackers go by what honest sites will send, which
        is their updates within it. Weights and counters stay what they were.
        """
        result, present = dict(trained), [index for index in attackers if index in trained]
        honest = [_sent(trained[index], clip) for index in sorted(set(trained) - set(attackers))]
        attack = updates.sign_flip if self.lies else UPDATE_ATTACKS.get(self.name)
        if attack is None or not present or not honest:
            return result
        own = np.array([_sent(trained[index], clip) for index in present])
        poisoned = attack(np.array(honest), own, clip, _generator(seed, round_))
        for index, row in zip(present, poisoned, strict=True):
            result[index] = replace(trained[index], parameters=row.astype(np.float32))
        return result


def attack_of(options: TrainOptions) -> Attack | None:
    """The attack that a run's options name. Raises BadOption, also for one that the run's engine cannot play."""
    if options.attack is None:
        return None
    attack, possible = parse(options.attack), (*ALONE, *DATA_ATTACKS)
    if options.engine == "processes" and attack.name not in possible:
        known = "what other sites send" if attack.name in UPDATE_ATTACKS else "two updates at once"
        raise BadOption(
            f"{OPTION} {attack.name} takes {known}, which no node's own process has",
            "give --engine inline, or one of " + ", ".join(possible),
        )
    return attack


def parse(text: str) -> Attack:
    """The attack that `NAME:SHARE` names. Raises BadOption, with the nearest name for an unknown one."""
    name, colon, amount = text.partition(":")
    if name not in NAMES:
        raise BadOption(f"{OPTION} names no attack known here", nearest(name, list(NAMES), "attacks"))
    try:
        share = float(amount)
    except ValueError:
        share = float("nan")
    if not (colon and isfinite(share) and 0 < share < 1):
        raise BadOption(f"{OPTION} gives no share", f"give a share between 0 and 1, like {name}:0.2")
    return Attack(name, share)


def alone(name: str, trained: Update, clip: float, rng: np.random.Generator) -> Update:
    """What one attacker makes of its own update by an attack of ALONE. `clip` as in `Attack.on_updates`."""
    own = _sent(trained, clip)[None, :]
    # None of them looks at an honest update.
    (poisoned,) = UPDATE_ATTACKS[name](own[:0], own, clip, rng)
    return replace(trained, parameters=poisoned.astype(np.float32))


def _sent(update: Update, clip: float) -> Floats:
    return update.parameters.astype(np.float64) * clip_factor(update.parameters, clip)


def _generator(seed: int, round_: int) -> np.random.Generator:
    return np.random.default_rng([seed, round_])
