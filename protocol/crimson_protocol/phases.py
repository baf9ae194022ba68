"""The phase table: every legal move of enclave and node, in one place.

docs/PROTOCOL.md's diagram and the state-machine tests are generated from this table. A pair that is not
in it is refused with WRONG_PHASE and changes nothing. The table does not decide whether a legal message
is *acceptable*; the steps do.
"""

from dataclasses import dataclass
from enum import Enum

from crimson_protocol.wire.messages.advertise import Advertise, Offer
from crimson_protocol.wire.messages.confirm import Confirm, Freeze, Verdict
from crimson_protocol.wire.messages.release import Abort, Release
from crimson_protocol.wire.messages.share import Roster, Share
from crimson_protocol.wire.messages.sketch import Sketch
from crimson_protocol.wire.messages.submit import Complaint, Shared, Submit
from crimson_protocol.wire.messages.unmask import Unmask, UnmaskRequest
from crimson_protocol.wire.records import Record
from crimson_protocol.wire.table import Role


class Deadline:
    """Stands for time running out, or a phase being complete: the one move that no message makes."""


class EnclavePhase(Enum):
    """What the enclave waits for."""

    ADVERTISING = "Advertising"
    SHARING = "Sharing"
    SUBMITTING = "Submitting"
    SKETCHING = "Sketching"
    CONFIRMING = "Confirming"
    UNMASKING = "Unmasking"
    RELEASED = "Released"
    ABORTED = "Aborted"


class NodePhase(Enum):
    """What a node has done last in this attempt."""

    READY = "Ready"
    ADVERTISED = "Advertised"
    DEALT = "Dealt"
    SUBMITTED = "Submitted"
    FROZEN = "Frozen"
    CONFIRMED = "Confirmed"
    OPENED = "Opened"
    FINISHED = "Finished"
    WITHDRAWN = "Withdrawn"


Phase = EnclavePhase | NodePhase
Trigger = type[Record] | type[Deadline]


@dataclass(frozen=True)
class Move:
    """In `before`, `trigger` may lead to one of `after`, saying `says`."""

    role: Role
    before: Phase
    trigger: Trigger
    after: tuple[Phase, ...]
    says: tuple[type[Record], ...] = ()


E, N = EnclavePhase, NodePhase

MOVES: tuple[Move, ...] = (
    Move(Role.ENCLAVE, E.ADVERTISING, Advertise, (E.ADVERTISING,)),
    Move(Role.ENCLAVE, E.ADVERTISING, Deadline, (E.SHARING, E.ABORTED), (Roster,)),
    Move(Role.ENCLAVE, E.SHARING, Share, (E.SHARING,)),
    Move(Role.ENCLAVE, E.SHARING, Deadline, (E.SUBMITTING, E.ABORTED), (Shared,)),
    Move(Role.ENCLAVE, E.SUBMITTING, Submit, (E.SUBMITTING,)),
    Move(Role.ENCLAVE, E.SUBMITTING, Complaint, (E.SUBMITTING, E.ABORTED)),
    Move(Role.ENCLAVE, E.SUBMITTING, Deadline, (E.SKETCHING, E.CONFIRMING, E.ABORTED), (Freeze, Verdict)),
    Move(Role.ENCLAVE, E.SKETCHING, Sketch, (E.SKETCHING,)),
    Move(Role.ENCLAVE, E.SKETCHING, Deadline, (E.CONFIRMING, E.ABORTED), (Verdict,)),
    Move(Role.ENCLAVE, E.CONFIRMING, Confirm, (E.CONFIRMING,)),
    Move(Role.ENCLAVE, E.CONFIRMING, Deadline, (E.UNMASKING, E.ABORTED), (UnmaskRequest,)),
    Move(Role.ENCLAVE, E.UNMASKING, Unmask, (E.UNMASKING,)),
    Move(Role.ENCLAVE, E.UNMASKING, Deadline, (E.RELEASED, E.ABORTED), (Release,)),
    Move(Role.NODE, N.READY, Offer, (N.ADVERTISED,), (Advertise,)),
    Move(Role.NODE, N.ADVERTISED, Roster, (N.DEALT,), (Share,)),
    Move(Role.NODE, N.DEALT, Shared, (N.SUBMITTED, N.WITHDRAWN), (Submit, Complaint)),
    Move(Role.NODE, N.SUBMITTED, Freeze, (N.FROZEN,), (Sketch,)),
    Move(Role.NODE, N.FROZEN, Verdict, (N.CONFIRMED,), (Confirm,)),
    Move(Role.NODE, N.CONFIRMED, UnmaskRequest, (N.OPENED,), (Unmask,)),
    Move(Role.NODE, N.OPENED, UnmaskRequest, (N.OPENED,), (Unmask,)),
    Move(Role.NODE, N.OPENED, Release, (N.FINISHED,)),
    Move(Role.NODE, N.CONFIRMED, Release, (N.FINISHED,)),
    *(
        Move(Role.NODE, phase, Abort, (N.WITHDRAWN,))
        for phase in (N.ADVERTISED, N.DEALT, N.SUBMITTED, N.FROZEN, N.CONFIRMED, N.OPENED)
    ),
)


def legal(role: Role, before: Phase, trigger: Trigger) -> Move | None:
    """The move for this pair, or None where the pair is illegal."""
    for move in MOVES:
        if move.role is role and move.before is before and move.trigger is trigger:
            return move
    return None


def diagram(role: Role) -> str:
    """The role's moves as a Mermaid state diagram."""
    lines = ["stateDiagram-v2"]
    for move in MOVES:
        if move.role is role:
            says = " / " + ", ".join(record.__name__ for record in move.says) if move.says else ""
            for after in move.after:
                lines.append(f"    {move.before.value} --> {after.value}: {move.trigger.__name__}{says}")
    return "\n".join(lines)
