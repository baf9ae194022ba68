"""A federation in memory for tests: the real session, the real agents, and full control over the relay.

`Play` goes phase by phase. `close()` gives what the enclave says; `deliver()` hands it to nodes and their
replies back to the enclave; in between a test may alter, withhold, repeat or forge anything. `forge()` signs
with the enclave's own key, which is what a broken enclave can do.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from crimson_enclave.dispatch import Fault, UntrustedFrame
from crimson_enclave.event_log import EventLog
from crimson_enclave.instance import Attester, Instance
from crimson_enclave.privacy.accountant import multiplier_for
from crimson_enclave.session import Session
from crimson_enclave.state import terms_of
from crimson_enclave.totals import Totals
from crimson_governance.in_process import Government
from crimson_governance.templates import template
from crimson_node.agent import Agent, Reply
from crimson_node.journal import Journal
from crimson_node.member import Member, Update
from crimson_protocol.artifact import Artifact
from crimson_protocol.cohort import corrupt_count
from crimson_protocol.errors import PeerFault
from crimson_protocol.events import SignedCheckpoint
from crimson_protocol.evidence.validate import Appraisal
from crimson_protocol.exposure import sketched_round
from crimson_protocol.policy.access import AccessRules
from crimson_protocol.policy.document import (
    POLICY_VERSION,
    EnrolmentRules,
    EvidenceRules,
    ModelRules,
    Policy,
    RosterEntry,
    ServerRules,
    SketchRules,
)
from crimson_protocol.policy.privacy import noise_for
from crimson_protocol.policy.privacy_rules import PrivacyRules
from crimson_protocol.policy.update import Trust, update
from crimson_protocol.receipt import verify_receipt
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.secret.keys import BoxKey, DualKey, IdentityKey
from crimson_protocol.transcript import model_digest
from crimson_protocol.wire.envelope import Envelope
from crimson_protocol.wire.messages.advertise import RoundNumbers
from crimson_protocol.wire.records import Record
from crimson_protocol.wire.table import BY_KIND

MODEL = "model"
NOW = 1_800_000_000
FOUNDED = 1_700_000_000
ACCESS = AccessRules(template("access.cedar"), template("access.cedarschema"))
ENROLMENT = EnrolmentRules(1, ("blood_bank", "hospital"))
MEASUREMENT = hashlib.sha256(b"the enclave under test").digest()

Said = tuple[int | None, bytes]


def entropy(seed: int | str) -> Callable[[int], bytes]:
    """Repeatable bytes: SHAKE-256 over seed and call number."""
    calls = 0

    def draw(length: int) -> bytes:
        nonlocal calls
        calls += 1
        return hashlib.shake_256(f"{seed}/{calls}".encode()).digest(length)

    return draw


class MemorySpool:
    """The relay's spool: what nodes uploaded in the running attempt."""

    def __init__(self) -> None:
        self.vectors: dict[int, bytes] = {}
        self.shares: dict[int, bytes] = {}

    def vector(self, node: int) -> Iterable[bytes]:
        yield self.vectors[node]

    def pair_box(self, dealer: int, recipient: int) -> bytes:
        share = parse(self.shares[dealer])
        return next((row.pair_box or b"" for row in share.rows if row.recipient == recipient), b"")


def parse(data: bytes) -> Record:
    """The typed body of any envelope, unverified."""
    envelope = Envelope.from_bytes(data, 1 << 28)
    return BY_KIND[envelope.kind].record.from_bytes(envelope.body, 1 << 28)


def default_numbers(nodes: int, **changes: object) -> RoundNumbers:
    """Numbers that suit a cohort of `nodes`; `changes` override any."""
    corrupt = changes.get("corrupt", (1, 5) if nodes >= 4 else (0, 1))
    known = {
        "parameters": 5,
        "counters": 2,
        "slices": 1,
        "ring_bits": 32,
        "value_bits": 16,
        "clip_micro": 8_000_000,
        "weight_cap": 16,
        "bucket_size": None,
        "min_cohort": changes.get("min_cohort") or corrupt_count(nodes, corrupt) + 3,
        "corrupt": corrupt,
        "dropout": (1, 10),
        "noise_micro": 0,
        "steps_cap": 0,
    }
    return RoundNumbers(**{**known, **changes})


def default_rules(numbers: RoundNumbers, **changes: object) -> ModelRules:
    """FedAvg of one model under `numbers`; `changes` override any field."""
    disclosures = set()
    if numbers.corrupt[0] == 0:
        disclosures.add("no-corruption")
    if numbers.bucket_size is not None:
        disclosures |= {"simulated", "single-updates" if numbers.bucket_size == 1 else "small-buckets"}
    known = {
        "model": MODEL,
        "strategy": "fedavg",
        "alternatives": (),
        "loss": "squared-error",
        "robust_rule": "none",
        "robust_tolerance": 0,
        "mixing": 0,
        "radius_micro": 0,
        "enclave_clip": 0,
        "server": ServerRules(),
        "numbers": numbers,
        "sketch": None,
        "privacy": None,
        "disclosures": tuple(sorted(disclosures)),
        "plan": b"",
        "base": None,
        "initial_digest": model_digest(initial(numbers)),
    }
    return ModelRules(**{**known, **changes})


def sketched_parties(nodes: int, seed: object = 0, **changes: object) -> "Parties":
    """Parties whose one model is sketched every round: 8 buckets over 160 parameters, no bad node borne by default."""
    known = {"sketch": SketchRules(8, 4, 1), "robust_rule": "sketch-filter"}
    disclosures = {"simulated", "sketches"} | ({"no-corruption"} if nodes < 4 else set())
    numbers = changes.pop("numbers", None) or default_numbers(nodes, parameters=160, counters=0)
    return make_parties(
        nodes, numbers, seed, **{**known, "disclosures": tuple(sorted(disclosures)), **changes}
    )


def private_parties(nodes: int, releases: int = 3, seed: object = 0, **changes: object) -> "Parties":
    """Parties whose one model affords `releases` of one node's privacy, at epsilon 4 and delta 10^-5."""
    knobs = {"parameters": 8, "counters": 0, "weight_cap": 1, "value_bits": 16, **changes.pop("knobs", {})}
    privacy = PrivacyRules("node", 4000, 5, 1_000_000, 0, 0, releases, "release", "node")
    rules = default_rules(default_numbers(nodes, **knobs), privacy=privacy, **changes)
    multiplier = multiplier_for(4000, 1e-5, 1_000_000, releases)
    numbers = replace(rules.numbers, noise_micro=noise_for(rules, multiplier))
    return make_parties(nodes, numbers, seed, privacy=privacy, **changes)


def initial(numbers: RoundNumbers) -> bytes:
    """The model that every test starts from."""
    return Artifact.of(np.zeros(numbers.parameters, np.float32)).to_bytes()


@dataclass
class Parties:
    """Keys and the signed policy of a federation."""

    governor: DualKey
    root: DualKey
    identities: list[IdentityKey]
    encryptions: list[BoxKey]
    policy: Policy
    signed: bytes

    @property
    def first_root(self) -> bytes:
        """The federation's first root."""
        return government_of(self.governor).roots[0]


_GOVERNMENTS: dict[bytes, Government] = {}


def government_of(governor: DualKey) -> Government:
    """A government of one, who also publishes. Its root is made once: signatures with ML-DSA differ each time."""
    known = governor.public.ed25519
    if known not in _GOVERNMENTS:
        publisher = DualKey(hashlib.sha512(governor.reveal()).digest())
        _GOVERNMENTS[known] = Government.found([governor], publisher, FOUNDED)
    return _GOVERNMENTS[known]


def sign_policy(governor: DualKey, policy: Policy, **options: object) -> bytes:
    """The policy as its governor publishes it, sound or not."""
    return government_of(governor).publish(policy, policy.expires, **options).to_bytes()


def load_policy(signed: bytes, governor: DualKey, now: int) -> Policy:
    """The policy in a bundle, for somebody who trusts this governor and has seen no policy yet."""
    return update(Trust.anchored(government_of(governor).roots[0]), signed, now).policy


def make_parties(
    nodes: int, numbers: RoundNumbers | None = None, seed: object = 0, **changes: object
) -> Parties:
    """Fresh parties whose policy lists one model. `changes` go to the model's rules."""
    draw = entropy(f"parties/{seed}")
    governor, root = DualKey.fresh(draw), DualKey.fresh(draw)
    identities = [IdentityKey.fresh(draw) for _ in range(nodes)]
    encryptions = [BoxKey.fresh(draw) for _ in range(nodes)]
    roster = tuple(
        RosterEntry(
            f"site-{index}", f"organisation {index}", "hospital", identity.public, box.public, "active"
        )
        for index, (identity, box) in enumerate(zip(identities, encryptions, strict=True))
    )
    rules = default_rules(numbers or default_numbers(nodes), **changes)
    evidence = EvidenceRules(("sim",), (MEASUREMENT,), (root.public,), ())
    policy = Policy(
        version=POLICY_VERSION,
        federation="federation",
        serial=1,
        expires=NOW + 10**6,
        roster=roster,
        operators=(),
        access=ACCESS,
        evidence=evidence,
        enrolment=ENROLMENT,
        models=(rules,),
        regrouping=0,
        reopens=(),
    )
    return Parties(governor, root, identities, encryptions, policy, sign_policy(governor, policy))


@dataclass
class Play:
    """One federation, one running attempt at a time."""

    home: Path
    nodes: int = 6
    numbers: RoundNumbers | None = None
    seed: object = 0
    parties: Parties | None = None
    now: int = NOW
    session: Session = field(init=False)
    agents: list[Agent] = field(init=False)
    spool: MemorySpool = field(init=False, default_factory=MemorySpool)
    encoded: dict[int, np.ndarray] = field(init=False, default_factory=dict)
    opened: list[tuple[Totals, tuple[int, ...]]] = field(init=False, default_factory=list)
    refused: dict[int, PeerFault] = field(init=False, default_factory=dict)
    journals: list[Journal] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.parties = self.parties or make_parties(self.nodes, self.numbers, self.seed)
        self.policy = load_policy(self.parties.signed, self.parties.governor, self.now)
        self.numbers = self.policy.models[0].numbers
        log = EventLog()
        attester = Attester(self.parties.root, MEASUREMENT)
        instance = Instance.start(self.policy, log.checkpoint(), attester, entropy(f"instance/{self.seed}"))
        self.session = Session(
            policy=self.policy,
            instance=instance,
            artifacts={MODEL: initial(self.numbers)},
            spool=self.spool,
            clock=lambda: self.now,
            entropy=entropy(f"enclave/{self.seed}"),
            observer=lambda totals, accepted: self.opened.append((totals, accepted)),
            log=log,
        )
        self.agents = [self.agent(index) for index in range(self.nodes)]

    def agent(self, index: int) -> Agent:
        """A (re)started agent: memory is new, its journal is what the disk holds."""
        home = self.home / f"node-{index}"
        self.journals.append(Journal(home / "journal"))
        member = Member(index, self.parties.identities[index], self.parties.encryptions[index], self.policy)
        return Agent(
            member,
            self.journals[-1],
            home / "outbox",
            lambda: self.now,
            entropy(f"node/{self.seed}/{index}/{id(home)}"),
            self.encoded.__setitem__,
        )

    def close_journals(self) -> None:
        """Give the files back: a test process makes hundreds of federations."""
        for journal in self.journals:
            journal.close()

    def update(self, index: int) -> Update:
        """A distinct update of one node, on the current model."""
        values = np.random.default_rng(index).normal(0, 1, self.numbers.parameters).astype(np.float32)
        counters = tuple(1000 * index + place for place in range(self.numbers.counters))
        weight = 1 + index % self.numbers.weight_cap
        return Update(MODEL, model_digest(self.session.base(MODEL)), values, weight, counters)

    def prepare(self, updates: Mapping[int, Update] | None = None) -> None:
        """Every agent appraises the enclave and holds its trained update."""
        instance = self.session.instance
        for index, agent in enumerate(self.agents):
            evidence = instance.attester.attest(instance.claims, agent.challenge(), self.now)
            appraisal = agent.appraise(evidence)
            self.endorse(agent, appraisal)
            self.catch_up(agent, appraisal)
            agent.prepare((updates or {}).get(index) or self.update(index), appraisal)

    def endorse(self, agent: Agent, appraisal: Appraisal) -> None:
        """The agent vouches for the enclave's instance, if it has not yet."""
        proof = self.proof(agent.last_log_size, appraisal.checkpoint.size)
        faults = self.session.endorse(agent.endorse(appraisal, proof))
        assert not faults or not self.policy.is_active(agent.member.index)

    def catch_up(self, agent: Agent, appraisal: Appraisal) -> None:
        """A node that missed the last release takes it from the relay."""
        release = self.session.published.get(MODEL)
        if release is None:
            return
        receipt = verify_receipt(parse(release).receipt, appraisal.receipt_key)
        last = agent.seen.released.get(MODEL)
        if last is None or last.round < receipt.round:
            size = SignedCheckpoint.from_bytes(parse(release).checkpoint, 8192).checkpoint.size
            agent.adopt(release, appraisal, self.proof(agent.last_log_size, size))

    def proof(self, first: int, second: int) -> tuple[bytes, ...]:
        """Consistency proof between two sizes of the enclave's log, in either order."""
        return self.session.log.tree.consistency_proof(*sorted((first, second)))

    def open(self, *, again: bool = False) -> list[Said]:
        """Open an attempt; the Offer, not yet delivered."""
        self.spool.vectors.clear()
        self.spool.shares.clear()
        return [(None, self.session.open(MODEL, again=again))]

    def close(self) -> list[Said]:
        """The enclave's phase ends; what it says, not yet delivered."""
        return list(self.session.close())

    def deliver(
        self, said: Iterable[Said], to: Iterable[int] | None = None, *, upload: bool = True
    ) -> dict[int, Reply]:
        """Hand messages to nodes, upload their replies, and give the replies. Refusals go to `refused`."""
        replies: dict[int, Reply] = {}
        chosen = list(range(self.nodes)) if to is None else list(to)
        for recipient, data in said:
            for index in chosen if recipient is None else [recipient] if recipient in chosen else []:
                try:
                    reply = self.agents[index].receive(data, self.consistency(index))
                except PeerFault as fault:
                    self.refused[index] = fault
                    continue
                if reply is not None:
                    replies[index] = reply
                    if upload:
                        self.upload(index, reply)
        return replies

    def upload(self, index: int, reply: Reply) -> tuple[Fault, ...]:
        """One reply into the enclave, through the spool."""
        kind = BY_KIND[Envelope.from_bytes(reply.control, 1 << 28).kind].name
        if reply.payload is not None:
            self.spool.vectors[index] = bytes(reply.payload)
            return self.session.receive(UntrustedFrame(reply.control, self.spool.vector(index)))
        if kind == "Share":
            self.spool.shares[index] = reply.control
        return self.session.receive(UntrustedFrame(reply.control))

    def consistency(self, index: int) -> tuple[bytes, ...]:
        """Proof from the node's last log size to the offer's."""
        offered = terms_of(self.session.state).offer.checkpoint.size
        return self.proof(self.agents[index].last_log_size, offered)

    def forge(self, message: Record) -> bytes:
        """Any message under the enclave's own signature."""
        return sign_message(self.session.instance.signing.round_signer, None, message)

    def alter(self, said: Iterable[Said], **changes: object) -> list[Said]:
        """What was said, with fields changed and signed anew by the enclave."""
        return [(recipient, self.forge(replace(parse(data), **changes))) for recipient, data in said]

    @property
    def stages(self) -> tuple[str, ...]:
        """What the enclave says in the next round, in order."""
        round_ = self.session.places.get(MODEL, (0, 0))[0] + 1
        sketched = sketched_round(self.policy.rules(MODEL), round_)
        return (
            "offer",
            "roster",
            "shared",
            "frozen",
            *(["verdict"] if sketched else []),
            "request",
            "release",
        )

    def until(self, phase: str, to: Iterable[int] | None = None) -> list[Said]:
        """Play honestly until the enclave has said `phase`, which is given and not delivered.

        Phases: offer, roster, shared, frozen (Freeze and Verdict, or Freeze alone before sketches), verdict (after
        sketches), request, release.
        """
        chosen = list(range(self.nodes)) if to is None else list(to)
        self.prepare()
        stages, said = self.stages, self.open()
        for name in stages:
            if name == phase:
                return said
            self.deliver(said, chosen)
            said = self.close()
        raise ValueError(phase)

    def round(self, after_share: Iterable[int] = (), after_submit: Iterable[int] = ()) -> bool:
        """A whole round with nodes that vanish; whether it was released to everybody else."""
        alive = set(range(self.nodes))
        self.prepare()
        stages, said = self.stages, self.open()
        for name in stages:
            self.deliver(said, sorted(alive))
            if name == "release":
                break
            alive -= set(after_share) if name == "roster" else set()
            alive -= set(after_submit) if name == "shared" else set()
            said = self.close()
        return self.session.state.phase.value == "Released"

    def plain_sum(self, accepted: Iterable[int]) -> np.ndarray:
        """Integer sum of the accepted nodes' encoded lanes, count words left out."""
        layout = terms_of(self.session.state).layout
        lanes = [layout.read(self.encoded[node], 0, layout.body).view(np.int32) for node in accepted]
        return np.sum(np.array(lanes, np.int64), axis=0)


def lanes(play: Play) -> np.ndarray:
    """The opened sum over all buckets, as signed integers."""
    totals, _ = play.opened[-1]
    parts = [totals.layout.read(bucket.words, 0, totals.layout.body) for bucket in totals.buckets]
    bits = totals.layout.numbers.ring_bits
    signed = [
        ((part.astype(np.int64) + (1 << (bits - 1))) % (1 << bits)) - (1 << (bits - 1)) for part in parts
    ]
    return np.sum(signed, axis=0)
