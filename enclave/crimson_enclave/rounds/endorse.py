"""Before any round: which nodes vouch for this instance (step 0 of docs/PROTOCOL.md)."""

from crimson_protocol.cohort import quorum
from crimson_protocol.errors import PeerFault
from crimson_protocol.evidence.format import Claims
from crimson_protocol.policy.document import Policy
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.messages.endorse import Endorse


def take_endorse(message: Endorse, policy: Policy, claims: Claims) -> int:
    """0.3: the node that vouches for exactly this instance. Raises PeerFault(WRONG_CONTEXT) on the gateway: a node
    may have vouched for another start of the enclave before, and the relay hands that on to this one.

    The node has checked that the instance's log extends all it saw; of any q nodes, one is honest and saw
    the last release, so an instance on an older state never gets q.
    """
    told = (message.federation, message.epoch, message.claims_digest)
    if told != (policy.federation, claims.epoch, claims.digest()):
        raise PeerFault(Refusal.WRONG_CONTEXT, "an endorsement of another instance", "gateway")
    return message.node


def endorsements_needed(policy: Policy) -> int:
    """q over the active roster, for the largest corrupt share of any model: two quorums share an honest node.

    Without a model there is no round that an endorsement could stand for.
    """
    active = len(policy.active())
    return max((quorum(active, rules.numbers.corrupt) for rules in policy.models), default=0)
