"""From untrusted bytes to a step: parse, check the signature, look the move up, run it.

The one way in. A peer's fault leaves the state as it was and is returned as a fault with its culprit;
only our own bugs leave as exceptions.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from crimson_enclave.rounds.advertise import take_advertise
from crimson_enclave.rounds.confirm import take_confirm
from crimson_enclave.rounds.share import take_share
from crimson_enclave.rounds.sketch import take_sketch
from crimson_enclave.rounds.submit import condemn_second_input, take_complaint, take_submit
from crimson_enclave.rounds.unmask import take_unmask
from crimson_enclave.state import (
    Advertising,
    Confirming,
    Sharing,
    Sketching,
    Spool,
    State,
    Submitting,
    Unmasking,
)
from crimson_protocol.errors import PeerFault
from crimson_protocol.phases import legal
from crimson_protocol.policy.document import Policy
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.messages.advertise import Advertise
from crimson_protocol.wire.messages.confirm import Confirm
from crimson_protocol.wire.messages.share import Share
from crimson_protocol.wire.messages.sketch import Sketch
from crimson_protocol.wire.messages.submit import Complaint, Submit
from crimson_protocol.wire.messages.unmask import Unmask
from crimson_protocol.wire.records import Record
from crimson_protocol.wire.table import Role, parse_body, parse_envelope

GATEWAY = "gateway"


@dataclass(frozen=True)
class UntrustedFrame:
    """What the relay handed over: a control message and, for a Submit, the pieces of the vector."""

    control: bytes
    payload: Iterable[bytes] = ()


@dataclass(frozen=True)
class Fault:
    """Who broke which rule. `culprit` is a node id, "gateway", or None where nobody can be named."""

    culprit: str | None
    code: Refusal


def receive(
    state: State, policy: Policy, frame: UntrustedFrame, spool: Spool
) -> tuple[State, tuple[Fault, ...]]:
    """The next state and the faults found on the way."""
    try:
        node, message = open_message(policy, frame.control)
    except PeerFault as fault:
        # Bytes that no node signed are the relay's: it should never have passed them on.
        return state, (Fault(fault.culprit or GATEWAY, fault.code),)
    name = policy.name(node)
    try:
        if legal(Role.ENCLAVE, state.phase, type(message)) is None:
            raise PeerFault(Refusal.WRONG_PHASE, f"{type(message).__name__} while {state.phase.value}", name)
        return _step(state, node, message, frame, spool)
    except PeerFault as fault:
        fault = fault.blamed_on(name)
        if fault.code is Refusal.SECOND_INPUT and isinstance(state, Submitting):
            state = condemn_second_input(state, node)
        return state, (Fault(fault.culprit, fault.code),)


def open_message(policy: Policy, control: bytes) -> tuple[int, Record]:
    """Sender and body of a control message. Its claimed sender is not blamed while the signature does not hold."""
    nodes = len(policy.roster)
    envelope, kind = parse_envelope(control, Role.NODE, nodes)
    node = envelope.sender
    if node is None or not policy.is_active(node):
        raise PeerFault(Refusal.UNKNOWN_NODE, "the sender is not an active node of the roster policy")
    try:
        envelope.verify(policy.roster[node].identity_key, policy.name(node))
    except PeerFault as fault:
        raise PeerFault(fault.code, fault.text) from fault
    try:
        message = parse_body(envelope, kind, nodes)
    except PeerFault as fault:
        raise fault.blamed_on(policy.name(node)) from fault
    if getattr(message, "node", node) != node:
        raise PeerFault(Refusal.WRONG_CONTEXT, "the message speaks for another node", policy.name(node))
    return node, message


def _step(
    state: State, node: int, message: Record, frame: UntrustedFrame, spool: Spool
) -> tuple[State, tuple[Fault, ...]]:
    match state, message:
        case Advertising(), Advertise():
            return take_advertise(state, frame.control, message), ()
        case Sharing(), Share():
            return take_share(state, node, message), ()
        case Submitting(), Submit():
            return take_submit(state, message, frame.payload), ()
        case Submitting(), Complaint():
            after, culprit = take_complaint(state, message, spool)
            code = Refusal.FALSE_COMPLAINT if culprit == _name(state, node) else Refusal.BAD_BOX
            return after, (Fault(culprit, code),) if culprit else ()
        case Sketching(), Sketch():
            return take_sketch(state, message), ()
        case Confirming(), Confirm():
            return take_confirm(state, frame.control, message), ()
        case Unmasking(), Unmask():
            next_state, bad = take_unmask(state, message)
            return next_state, (Fault(_name(state, node), Refusal.BAD_COMMITMENT),) if bad else ()
        case _:
            raise AssertionError("the phase table allows a pair that no step takes")


def _name(state: Submitting | Unmasking, node: int) -> str:
    agreement = state.dealt.agreement if isinstance(state, Submitting) else state.judged.agreement
    return agreement.terms.policy.name(node)
