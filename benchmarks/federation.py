"""A federation to measure: the real agents on one side, the real enclave on the other, a relay that keeps little.

Nodes share one update, so a cohort of any size costs the memory of one vector; everything that is timed
or weighed runs the code of the rooms, with this federation only handing messages over.
"""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from tests.playground import (
    MEASUREMENT,
    MODEL,
    NOW,
    Parties,
    Said,
    default_numbers,
    entropy,
    initial,
    make_parties,
    parse,
)

from crimson_enclave.dispatch import UntrustedFrame
from crimson_enclave.event_log import EventLog
from crimson_enclave.instance import Attester, Instance
from crimson_enclave.session import Session
from crimson_node.agent import Agent, Reply
from crimson_node.journal import Journal
from crimson_node.member import Member, Update
from crimson_protocol.transcript import model_digest
from crimson_protocol.wire.messages.advertise import RoundNumbers
from crimson_protocol.wire.messages.share import Share

PIECE = 1 << 18
PHASES = ("offer", "roster", "shared", "frozen", "request", "release")


def numbers(nodes: int, parameters: int, **changes: object) -> RoundNumbers:
    """A tenth corrupt and a tenth dropping, four counters: dense cohorts then tolerate 44 % drops."""
    known = {"parameters": parameters, "counters": 4, "corrupt": (1, 10), "dropout": (1, 10)}
    return default_numbers(nodes, **{**known, **changes})


class BoxSpool:
    """Keeps pair boxes by dealer and recipient. Vectors are not kept: no node's vector is rejected here."""

    def __init__(self) -> None:
        self._boxes: dict[tuple[int, int], bytes] = {}

    def keep(self, share: Share, dealer: int) -> None:
        """The boxes that a gateway would hand out again."""
        self._boxes |= {(dealer, row.recipient): row.pair_box for row in share.rows if row.pair_box}

    def vector(self, node: int) -> Iterable[bytes]:
        raise LookupError(f"vector of node {node}")

    def pair_box(self, dealer: int, recipient: int) -> bytes:
        return self._boxes[dealer, recipient]


class Enclave(Protocol):
    """The enclave's side, in this process or in another."""

    def attest(self, challenge: bytes) -> bytes: ...

    def open(self) -> bytes: ...

    def receive(self, index: int, reply: Reply) -> None: ...

    def close(self) -> Iterator[Said]: ...


@dataclass
class LocalEnclave:
    """The enclave in this process."""

    parties: Parties
    session: Session = field(init=False)
    spool: BoxSpool = field(init=False, default_factory=BoxSpool)

    def __post_init__(self) -> None:
        policy, log = self.parties.policy, EventLog()
        attester = Attester(self.parties.root, MEASUREMENT)
        self.session = Session(
            policy=policy,
            instance=Instance.start(policy, log.checkpoint(), attester, entropy("bench instance")),
            artifacts={MODEL: initial(policy.models[0].numbers)},
            spool=self.spool,
            clock=lambda: NOW,
            entropy=entropy("bench enclave"),
            log=log,
        )

    def attest(self, challenge: bytes) -> bytes:
        instance = self.session.instance
        return instance.attester.attest(instance.claims, challenge, NOW)

    def endorse(self, control: bytes) -> None:
        self.session.endorse(control)

    def open(self) -> bytes:
        return self.session.open(MODEL)

    def receive(self, index: int, reply: Reply) -> None:
        """Take a reply, its vector in pieces as a socket would give them."""
        payload = reply.payload
        pieces = () if payload is None else (bytes(piece) for piece in _cut(payload))
        self.take(index, reply.control, pieces)

    def take(self, index: int, control: bytes, pieces: Iterable[bytes] = ()) -> None:
        """Take a control message and the pieces of its vector. A fault ends the benchmark."""
        if self.session.state is not None and self.session.state.phase.value == "Sharing":
            self.spool.keep(parse(control), index)
        faults = self.session.receive(UntrustedFrame(control, pieces))
        if faults:
            raise RuntimeError(f"the enclave refused a benchmark's message: {faults}")

    def close(self) -> Iterator[Said]:
        return iter(self.session.close())


def _cut(payload: memoryview) -> Iterator[memoryview]:
    return (payload[start : start + PIECE] for start in range(0, len(payload), PIECE))


@dataclass
class Nodes:
    """Every agent, and the bytes that each one sent: `controls[i]` and `payloads[i]` of node i."""

    parties: Parties
    agents: list[Agent] = field(init=False)
    controls: dict[int, int] = field(init=False, default_factory=dict)
    payloads: dict[int, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._home = tempfile.TemporaryDirectory()
        home, policy = Path(self._home.name), self.parties.policy
        self.agents = [
            Agent(
                Member(index, identity, self.parties.encryptions[index], policy),
                Journal(home / f"{index}" / "journal"),
                home / f"{index}" / "outbox",
                lambda: NOW,
                entropy(f"bench node {index}"),
            )
            for index, identity in enumerate(self.parties.identities)
        ]

    def prepare(self, enclave: Enclave) -> None:
        """Every agent appraises the enclave and holds the one shared update."""
        knobs = self.parties.policy.models[0].numbers
        update = shared_update(knobs)
        for agent in self.agents:
            appraisal = agent.appraise(enclave.attest(agent.challenge()))
            enclave.endorse(agent.endorse(appraisal))
            agent.prepare(update, appraisal)

    def answer(self, said: Iterable[Said], alive: frozenset[int]) -> Iterator[tuple[int, Reply]]:
        """Replies of the nodes that are alive, one at a time."""
        for recipient, data in said:
            for index in sorted(alive) if recipient is None else alive & {recipient}:
                reply = self.agents[index].receive(data)
                if reply is not None:
                    self.controls[index] = self.controls.get(index, 0) + len(reply.control)
                    self.payloads[index] = len(reply.payload or b"") or self.payloads.get(index, 0)
                    yield index, reply


def shared_update(knobs: RoundNumbers) -> Update:
    """The one update of every node, on the initial model."""
    values = shared_values(knobs)
    return Update(MODEL, model_digest(initial(knobs)), values, 3, tuple(range(knobs.counters)))


def shared_values(knobs: RoundNumbers) -> np.ndarray:
    """Values whose norm exceeds the clip, so that encoding them includes the clipping."""
    values = np.random.default_rng(1).standard_normal(knobs.parameters, dtype=np.float32)
    values *= np.float32(2 * knobs.clip_micro / 1e6 / max(1.0, float(np.linalg.norm(values))))
    return values


def play(
    enclave: Enclave,
    nodes: Nodes,
    until: str,
    gone: frozenset[int] = frozenset(),
    since: tuple[str, list[Said]] | None = None,
) -> list[Said]:
    """An honest round up to what the enclave says in phase `until`; nodes in `gone` vanish after Share.

    `since` goes on from a phase and what was said in it.
    """
    everybody = frozenset(range(len(nodes.agents)))
    if since is None:
        nodes.prepare(enclave)
        since = "offer", [(None, enclave.open())]
    first, said = since
    for phase in PHASES[PHASES.index(first) : PHASES.index(until)]:
        alive = everybody if phase in ("offer", "roster") else everybody - gone
        for index, reply in nodes.answer(said, alive):
            enclave.receive(index, reply)
        said = list(enclave.close())
    return said


def parties(knobs: RoundNumbers, nodes: int) -> Parties:
    """The same keys and policy in every process that asks."""
    return make_parties(nodes, knobs, seed="benchmarks")
