"""Runs a simulation's dishonest node: the real agent of a site, which poisons its update before it encodes it.

`python -m crimson_simulation.processes.attacker HOME ENCODED FAULT ATTACK SEED INDEX`
"""

import sys
from dataclasses import dataclass, field

import numpy as np

from crimson_node.encoding import MICRO, encode_update
from crimson_node.member import Update
from crimson_protocol.entropy import Fill
from crimson_protocol.layout import Layout, Words
from crimson_simulation.attacks.encoding import encode_unclipped
from crimson_simulation.attacks.registry import alone
from crimson_simulation.processes.node import main as node


@dataclass(frozen=True)
class PoisonedEncoder:
    """Encodes what an attack makes of each update, without clipping it. Sums of counters stay honest."""

    attack: str
    chance: np.random.Generator = field(repr=False)

    def __call__(self, update: Update, layout: Layout, fill: Fill) -> Words:
        if not layout.numbers.parameters:
            return encode_update(update, layout, fill)
        poisoned = alone(self.attack, update, layout.numbers.clip_micro / MICRO, self.chance)
        return encode_unclipped(poisoned, layout, fill)


def main(home: str, encoded: str, fault: str, attack: str, seed: str, index: str) -> int:
    """The agent's life; its exit code."""
    chance = np.random.default_rng([int(seed), int(index)])
    return node(home, encoded, fault, encode=PoisonedEncoder(attack, chance))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
