"""An attack on one run: whose rows, updates, encodings and sketches are not what they should be."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from crimson_node.agent import Agent
from crimson_node.data.rows import SurvivalRows
from crimson_node.encoding import encode_update
from crimson_node.member import Update
from crimson_node.rounds.submit import Encoder
from crimson_node.state import Submitted
from crimson_protocol.entropy import Entropy
from crimson_protocol.secret.keys import Secret
from crimson_protocol.secret.masking import keystream_fill
from crimson_simulation.attacks.encoding import encode_unclipped
from crimson_simulation.attacks.registry import DATA_ATTACKS, Attack


@dataclass(frozen=True)
class CarriedOut:
    """Who attacks in a run of `count` sites, and how. No attack where `attack` is None."""

    attack: Attack | None
    count: int
    seed: int
    entropy: Entropy = field(repr=False)

    @property
    def attackers(self) -> tuple[int, ...]:
        """Their indices, ascending."""
        return self.attack.sites(self.count, self.seed) if self.attack else ()

    @property
    def name(self) -> str:
        """The attack's name; empty where there is none."""
        return self.attack.name if self.attack else ""

    def poisons_updates(self, index: int) -> bool:
        """Whether a site sends another update than it trained. Who poisons rows runs an honest node on them."""
        return bool(self.name) and self.name not in DATA_ATTACKS and index in self.attackers

    def rows(self, rows: tuple[SurvivalRows, ...]) -> tuple[SurvivalRows, ...]:
        """What every site trains on."""
        return tuple(self.attack.on_rows(rows, self.attackers, self.seed)) if self.attack else rows

    def encoder(self, index: int) -> Encoder:
        """How a site encodes. Who poisons updates does not clip."""
        return encode_unclipped if self.poisons_updates(index) else encode_update

    def updates(self, trained: Mapping[int, Update], clip: float, round_: int) -> dict[int, Update]:
        """What every site submits."""
        if self.attack is None:
            return dict(trained)
        return self.attack.on_updates(trained, self.attackers, clip, self.seed, round_)

    def lie(self, agents: list[Agent], honest: Mapping[int, Update]) -> None:
        """After Submit: liars put the encoding of their honest update in place of what they will be asked to sketch."""
        if self.attack is None or not self.attack.lies:
            return
        for index in self.attackers:
            state = agents[index].state
            if isinstance(state, Submitted) and state.encoded is not None:
                terms = state.dealt.agreement.terms
                fill = keystream_fill(Secret.fresh(self.entropy), terms.offer.suite)
                pretended = encode_update(honest[index], terms.layout, fill)
                agents[index].state = replace(state, encoded=pretended)
