"""How the gateway's round states and the enclave's phases and places go together."""

from crimson_gateway.store.tables import Round
from crimson_protocol.phases import MOVES, EnclavePhase
from crimson_protocol.wire import link
from crimson_protocol.wire.envelope import OVERHEAD
from crimson_protocol.wire.messages.release import Abort
from crimson_protocol.wire.table import BY_RECORD, MESSAGES, Role

RUNNING = {
    phase.value.lower(): phase.value
    for phase in EnclavePhase
    if phase not in (EnclavePhase.RELEASED, EnclavePhase.ABORTED)
}
"""Round states of a running attempt and the enclave's phase in each."""
STATE_OF = {phase: state for state, phase in RUNNING.items()}
RELEASED, ABORTED = EnclavePhase.RELEASED.value, EnclavePhase.ABORTED.value
FIRST = EnclavePhase.ADVERTISING.value

KINDS = {
    phase.value: frozenset(
        BY_RECORD[move.trigger].kind
        for move in MOVES
        if move.role is Role.ENCLAVE and move.before is phase and move.trigger in BY_RECORD
    )
    for phase in EnclavePhase
}
"""Kinds of node messages that each phase of the enclave takes."""
_SAID = {
    phase.value: {
        record for move in MOVES if move.role is Role.ENCLAVE and move.before is phase for record in move.says
    }
    for phase in EnclavePhase
}


def cap_of_control(nodes: int) -> int:
    """Most bytes of an envelope that a node may send."""
    return max(message.cap(nodes) for message in MESSAGES if message.sender is Role.NODE) + OVERHEAD


def cap_of_said(phase: str, nodes: int) -> int:
    """Most bytes of a message that the enclave says when it closes a phase."""
    records = _SAID.get(phase, set()) | {Abort}
    return max(BY_RECORD[record].cap(nodes) for record in records) + OVERHEAD + 64


def place_of(round_: Round) -> link.Place:
    """Where the round's last attempt stands in the enclave's count."""
    return link.Place(round_.model, round_.number, round_.attempt)


def next_place(status: link.Status, round_: Round) -> link.Place:
    """The attempt to open next for a round that gathered its nodes.

    An attempt that was just opened, before a crash kept this gateway from noting it, is opened once more:
    the enclave then gives the same Offer.
    """
    last = next(
        (place for place in status.places if place.model == round_.model), link.Place(round_.model, 0, 0)
    )
    ours = place_of(round_)
    if last == status.place and last != ours and status.phase == FIRST:
        return last
    if last == ours and round_.number > 0 and status.again:
        return link.Place(last.model, last.round, last.attempt + 1)
    return link.Place(last.model, last.round + 1, 1)
