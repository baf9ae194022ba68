"""Who governs a federation: the governors, how many of them must sign, and the publisher."""

from collections.abc import Sequence
from dataclasses import dataclass

from crimson_governance.outcome import BadSource
from crimson_governance.public_files import read_public
from crimson_governance.source.folder import Source
from crimson_protocol.crypto.verify import DualPublic

MAX_GOVERNORS = 32


@dataclass(frozen=True)
class Party:
    """A governor or the publisher, by public keys."""

    name: str
    public: DualPublic


@dataclass(frozen=True)
class Parties:
    """The governors, `threshold` of whom sign a policy, and the publisher, who keeps it fresh."""

    governors: tuple[Party, ...]
    threshold: int
    publisher: Party

    def governor(self, public: DualPublic) -> Party | None:
        """The governor with these keys."""
        return next((party for party in self.governors if party.public == public), None)

    def names(self) -> tuple[str, ...]:
        """The governors' names, in order."""
        return tuple(party.name for party in self.governors)


def parties_of(source: Source) -> Parties:
    """The parties that federation.yaml names. Raises BadSource and BadInput.

    Governors are put in the order of their names: who is listed first means nothing.
    """
    filled, form = source.federation, source.federation.form
    governors = tuple(
        Party(item.name, read_public(item.keys, source.files[item.keys]))
        for item in sorted(form.governors, key=lambda item: item.name)
    )
    if not 1 <= len(governors) <= MAX_GOVERNORS:
        raise filled.fault(("governors",), f"1 to {MAX_GOVERNORS} governors belong here")
    if not 1 <= form.threshold <= len(governors):
        raise filled.fault(
            ("threshold",),
            f"{form.threshold} of {len(governors)} governors cannot sign; write 1 to {len(governors)}",
        )
    publisher = Party(
        form.publisher.name, read_public(form.publisher.keys, source.files[form.publisher.keys])
    )
    _refuse_twice(source, (*governors, publisher))
    return Parties(governors, form.threshold, publisher)


def _refuse_twice(source: Source, everyone: Sequence[Party]) -> None:
    """One name, one Ed25519 key and one ML-DSA-65 key stand for one party. Raises BadSource."""
    known: dict[str | bytes, str] = {}
    for party in everyone:
        for value in (party.name, party.public.ed25519, party.public.mldsa65):
            if value in known:
                what = "name" if isinstance(value, str) else "key"
                raise _twice(source, f"{known[value]} and {party.name} have one {what}")
            known[value] = party.name


def _twice(source: Source, what: str) -> BadSource:
    return source.federation.fault(("governors",), f"{what}; each party needs its own")
