"""Which cohort a model is held to: what nodes may have confirmed stays, whatever becomes of the attempt."""

from collections.abc import Callable
from dataclasses import dataclass, field

from crimson_enclave.state import Aborted
from crimson_protocol.survivors import Judged
from crimson_protocol.wire.messages.advertise import Offer


@dataclass(frozen=True)
class Bound:
    """A verdict that nodes may have confirmed: they hold later rounds on the same model to its cohort."""

    model_digest: bytes
    accepted: frozenset[int]
    proofs: tuple[bytes, ...] = field(default=(), repr=False)
    convicted: frozenset[int] = frozenset()

    @property
    def cohort(self) -> frozenset[int]:
        """Whom the next verdict on the model must accept: exactly these."""
        return self.accepted - self.convicted


@dataclass(frozen=True)
class Lost:
    """An attempt that a restart of the enclave ended. `again`: no verdict was shown, so another may follow."""

    model: str
    offer_digest: bytes
    again: bool


class Bindings(dict[str, Bound]):
    """The last binding verdict of every model. Written before a verdict leaves, so that no crash undoes it."""

    def shown(self, judged: Judged) -> None:
        """A verdict is about to be shown. A confirmation that the relay withholds binds its node all the same;
        but a verdict that perhaps nobody confirmed does not displace an earlier one on the same model."""
        offer = judged.agreement.terms.offer
        if self.on(offer) is None:
            self.confirmed(judged)

    def confirmed(self, judged: Judged) -> None:
        """Somebody confirmed the verdict: from here on it is the one that counts. Where it is the cohort that the
        model is held to already, the proofs stay with it: nodes that did not confirm yet ask for them."""
        offer, accepted = judged.agreement.terms.offer, frozenset(judged.verdict.accepted)
        bound = self.on(offer)
        if bound is None or bound.cohort != accepted:
            self[offer.model] = Bound(offer.model_digest, accepted)

    def lost(self, judged: Judged, aborted: Aborted, names: Callable[[int], str], nodes: int) -> None:
        """The confirmed round was lost; later rounds leave out whom its fault proofs convict."""
        self.confirmed(judged)
        if not aborted.proofs:
            return
        offer, accepted = judged.agreement.terms.offer, frozenset(judged.verdict.accepted)
        convicted = frozenset(node for node in range(nodes) if names(node) in aborted.culprits)
        self[offer.model] = Bound(offer.model_digest, accepted, aborted.proofs, convicted)

    def on(self, offer: Offer) -> Bound | None:
        """The verdict that a round on this very model is held to."""
        bound = self.get(offer.model)
        return bound if bound and bound.model_digest == offer.model_digest else None

    def convicted(self, model: str) -> frozenset[int]:
        """Nodes that a proof convicted in the model's last round."""
        return self[model].convicted if model in self else frozenset()
