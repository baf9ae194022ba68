"""Before any round: vouch for one instance of the enclave per epoch (step 0)."""

from collections.abc import Sequence

from crimson_node.member import Member
from crimson_node.seen import InstanceEndorsed, Seen
from crimson_protocol.errors import PeerFault
from crimson_protocol.evidence.validate import Appraisal
from crimson_protocol.log import verify_consistency
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.wire.messages.endorse import Endorse

MOST_STARTS = 1 << 20
"""Starts of an enclave that a node can have missed."""


def endorse(
    member: Member, seen: Seen, appraisal: Appraisal, consistency: Sequence[bytes]
) -> tuple[InstanceEndorsed | None, bytes]:
    """The journal entry that must be durable first, None if it is there already, and the signed Endorse.

    `consistency` proves that the log at the instance's start extends the last checkpoint seen. Raises
    PeerFault on the enclave: SECOND_INSTANCE, LOG_WENT_BACK.
    """
    epoch, digest = appraisal.epoch, appraisal.claims_digest
    message = Endorse(member.policy.federation, member.index, epoch, digest)
    reply = sign_message(member.identity, member.index, message)
    if seen.endorsed == (epoch, digest):
        return None, reply
    # 0.1: one instance per epoch, and epochs only go forward: of two running at once, one gets no quorum.
    if epoch <= seen.endorsed[0]:
        raise PeerFault(
            Refusal.SECOND_INSTANCE, f"epoch {epoch} belongs to an instance endorsed before", "enclave"
        )
    # A claimed epoch far ahead would shut every later instance out.
    if epoch > seen.endorsed[0] + MOST_STARTS:
        raise PeerFault(Refusal.SECOND_INSTANCE, f"epoch {epoch} is far beyond the last one", "enclave")
    # 0.2: nothing that this node saw is newer than the state that the instance started from.
    if seen.checkpoint is not None:
        old, new = seen.checkpoint, appraisal.checkpoint
        try:
            verify_consistency(old.size, old.root, new.size, new.root, consistency)
        except PeerFault as fault:
            raise PeerFault(Refusal.LOG_WENT_BACK, fault.text, "enclave") from fault
    return InstanceEndorsed(epoch, digest, appraisal.checkpoint), reply
