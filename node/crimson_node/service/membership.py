"""Which policy this node follows, and the agent that follows it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from crimson_node.agent import Agent
from crimson_node.enrolment.admission import is_listed
from crimson_node.enrolment.rotation import NextKeys
from crimson_node.enrolment.standing import EnrolmentFiles
from crimson_node.home import NodeHome, NodeKeys
from crimson_node.journal import Journal
from crimson_node.member import Member
from crimson_node.outcome import BadConfiguration
from crimson_node.rounds.submit import Encoder, Witness
from crimson_node.service.events import Report, say
from crimson_node.transport.gateway import GATEWAY, Gateway
from crimson_protocol.entropy import Entropy
from crimson_protocol.errors import PeerFault, PolicyRefusal
from crimson_protocol.policy.continuity import refuse_discontinuous
from crimson_protocol.policy.document import Policy
from crimson_protocol.policy.update import update
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.web import key_id


@dataclass
class Membership:
    """Follows the governors' newest policy. `agent` is None before the first was verified."""

    home: NodeHome
    name: str
    keys: NodeKeys
    journal: Journal
    gateway: Gateway
    clock: Callable[[], int]
    entropy: Entropy
    report: Report
    witness: Witness | None = None
    encode: Encoder | None = None
    agent: Agent | None = None
    _digest: bytes = b""
    _fresh_until: int = 0

    def refresh(self) -> Agent:
        """Fetch the policy and give the agent for it: the same one while the policy is the same.

        Raises PeerFault as `policy.update.update` does, on the gateway, and PolicyRefusal: an unsound policy, one that
        does not follow from the one before, or one that does not let this node take part.
        """
        bundle = self.gateway.policy()
        digest = hashlib.sha256(bundle).digest()
        if self.agent is not None and digest == self._digest and self.clock() < self._fresh_until:
            return self.agent
        try:
            verified = update(self.home.read_trust(), bundle, self.clock())
        except PeerFault as fault:
            raise fault.blamed_on(GATEWAY) from fault
        policy = verified.policy
        before = self.agent.member.policy if self.agent else self.home.policy_before()
        if before is not None:
            refuse_discontinuous(before, policy)
        # Before it is followed: what was seen once must never be taken back, however this process ends.
        self.home.write_trust(verified.trust, bundle)
        self._fresh_until = verified.fresh_until
        self._change_keys(policy)
        if self.agent is not None and policy.digest() == self.agent.member.policy.digest():
            self._digest = digest
            return self.agent
        self.agent = self._follow(policy)
        self._digest = digest
        return self.agent

    def _change_keys(self, policy: Policy) -> None:
        """Go over to the keys that this node asked to be listed with, once a verified policy lists them; for good."""
        files = EnrolmentFiles(self.home.root)
        for following in (NextKeys(files), NextKeys(files, refused=True)):
            keys = following.read()
            if keys is not None and is_listed(policy, self.name, keys):
                following.switch()
                self.keys = keys
                self.gateway.sign_as(keys.identity)
                say(self.report, "keys-changed", node=self.name, key_id=key_id(keys.identity.public))
                return

    def _follow(self, policy: Policy) -> Agent:
        member = Member(self._index(policy), self.keys.identity, self.keys.encryption, policy)
        outbox = self.home.outbox
        agent = Agent(
            member,
            self.journal,
            outbox,
            self.clock,
            self.entropy,
            self.witness,
            self.encode,
        )
        say(self.report, "policy", federation=policy.federation, serial=policy.serial, node=member.name)
        return agent

    def _index(self, policy: Policy) -> int:
        """This node's place in the roster, by its identity key."""
        public = self.keys.identity.public
        places = [place for place, entry in enumerate(policy.roster) if entry.identity_key == public]
        if not places:
            text = f"policy {policy.serial} lists no node with this identity key"
            raise PolicyRefusal(Refusal.UNKNOWN_NODE, text)
        entry = policy.roster[places[0]]
        if entry.status != "active":
            text = f"policy {policy.serial} says that {entry.node} is {entry.status}"
            raise PolicyRefusal(Refusal.UNKNOWN_NODE, text)
        if entry.node != self.name:
            hint = f'write "node": "{entry.node}", or use the keys of {self.name}'
            raise BadConfiguration(
                f"node.json says {self.name}, the policy calls this key {entry.node}", hint
            )
        if entry.encryption_key != self.keys.encryption.public:
            hint = "restore keys/encryption.pem, or ask the governors to list the new key"
            raise BadConfiguration("the policy lists another encryption key for this node", hint, "bad-key")
        return places[0]
