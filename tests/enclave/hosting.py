"""A small host around a real enclave process: writes its home, speaks the link, plays real agents' rounds.

`Client` is one connection; `Hosted` is a federation of agents in memory whose enclave is wherever the socket
leads. Everything that crosses the socket is real; the nodes' side is the same `Agent` as everywhere.
"""

import os
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tests.playground import (
    MODEL,
    MemorySpool,
    Parties,
    default_numbers,
    initial,
    load_policy,
    make_parties,
    sign_policy,
)
from tests.repositories import write_repository

from crimson_enclave.host.launcher import Launch, RunningEnclave, launch
from crimson_enclave.measurement import measure
from crimson_node.agent import Agent, Reply
from crimson_node.journal import Journal
from crimson_node.member import Member, Update
from crimson_protocol.errors import PeerFault
from crimson_protocol.events import SignedCheckpoint
from crimson_protocol.evidence.validate import Appraisal
from crimson_protocol.log import MerkleLog, leaf_hash
from crimson_protocol.policy.document import EvidenceRules
from crimson_protocol.receipt import verify_receipt
from crimson_protocol.secret.key_files import to_pem
from crimson_protocol.secret.keys import DualKey
from crimson_protocol.wire import link
from crimson_protocol.wire.envelope import Envelope
from crimson_protocol.wire.messages.advertise import Offer
from crimson_protocol.wire.messages.release import Release
from crimson_protocol.wire.records import Record
from crimson_protocol.wire.table import BY_KIND

PATIENCE = 60.0
PHASES = ("Advertising", "Sharing", "Submitting", "Confirming", "Unmasking")


class Gone(Exception):
    """The enclave closed the connection."""


class RefusedQuestion(Exception):
    """The enclave will not answer that now; the argument is its code."""


class Client:
    """One blocking connection to an enclave, with the relay's spool behind it."""

    def __init__(self, place: Path, spool: MemorySpool | None = None, *, greet: bool = True) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        try:
            self.socket.connect(str(place))
        except OSError as error:
            raise Gone(str(error)) from error
        self.spool = spool or MemorySpool()
        self.fetched: list[link.Fetch] = []
        self.said: list[tuple[int | None, bytes]] = []
        if greet:
            self.status()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Gone(str(error)) from error

    def pieces(self, data: bytes) -> None:
        for start in range(0, len(data), link.PIECE):
            piece = data[start : start + link.PIECE]
            self.send(link.header(link.Piece, len(piece)) + piece)
        self.send(link.header(link.Piece, 0))

    def read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            try:
                taken = self.socket.recv(length - len(data))
            except ConnectionError as error:
                raise Gone(str(error)) from error
            if not taken:
                raise Gone("closed")
            data += taken
        return data

    def receive(self) -> Record:
        record, length = link.parse_header(self.read(link.HEADER))
        return link.parse_body(record, self.read(length))

    def ask(self, question: Record, vector: bytes | None = None) -> Record:
        """One question to its closing answer. Messages on the way go to `said`, fetches are answered."""
        self.said = []
        self.send(link.frame(question))
        if vector is not None:
            self.pieces(vector)
        while True:
            match self.receive():
                case link.Fetch() as wanted:
                    self.fetched.append(wanted)
                    self.pieces(self.fetch(wanted))
                case link.Said() as said:
                    self.said.append((said.recipient, said.data))
                case link.Refused() as refused:
                    raise RefusedQuestion(refused.code)
                case answer:
                    return answer

    def fetch(self, wanted: link.Fetch) -> bytes:
        if wanted.what == "vector":
            return self.spool.vectors[wanted.node]
        return self.spool.pair_box(wanted.node, wanted.recipient)

    def status(self) -> link.Status:
        return self.ask(link.Hello(link.LINK_VERSION))

    def open(self, round_: int, attempt: int = 1) -> list[tuple[int | None, bytes]]:
        self.ask(link.Open(MODEL, round_, attempt))
        return self.said

    def close_phase(self, phase: str) -> list[tuple[int | None, bytes]]:
        self.ask(link.Close(phase))
        return self.said

    def leaves(self) -> list[bytes]:
        found: list[bytes] = []
        while more := self.ask(link.ReadLog(len(found))).leaves:
            found += more
        return found


def real_parties(nodes: int = 6, seed: object = 0, **numbers: object) -> Parties:
    """Parties whose policy names the installed enclave's measurement and is valid now."""
    parties = make_parties(nodes, default_numbers(nodes, **numbers), seed)
    evidence = EvidenceRules(("sim",), (measure(),), (parties.root.public,), ())
    return resigned(parties, evidence=evidence, expires=int(time.time()) + 10**6)


def resigned(parties: Parties, **changes: object) -> Parties:
    """The parties under a changed policy."""
    policy = replace(parties.policy, **changes)
    return replace(parties, policy=policy, signed=sign_policy(parties.governor, policy))


def write_home(home: Path, parties: Parties) -> Path:
    """An enclave's home folder, as an operator gets it."""
    (home / "keys").mkdir(mode=0o700, parents=True, exist_ok=True)
    write_repository(home, parties, [initial(rules.numbers) for rules in parties.policy.models])
    root = home / "keys" / "root.pem"
    root.touch(mode=0o600)
    root.write_bytes(to_pem(DualKey(parties.root.reveal())))
    return home


def start(home: Path, **options: object) -> RunningEnclave:
    """A real enclave process on a home."""
    return launch(Launch(home, **options))


def now() -> int:
    return int(time.time())


@dataclass
class Hosted:
    """Agents in memory, an enclave behind a socket, and the relay between them."""

    home: Path
    parties: Parties
    connect: Callable[[], Client]
    spool: MemorySpool = field(default_factory=MemorySpool)
    encoded: dict[int, np.ndarray] = field(default_factory=dict)
    agents: list[Agent] = field(init=False)
    releases: dict[int, bytes] = field(default_factory=dict)
    submitted: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.policy = load_policy(self.parties.signed, self.parties.governor, now())
        self.numbers = self.policy.models[0].numbers
        self.agents = []
        for index, identity in enumerate(self.parties.identities):
            folder = self.home / f"node-{index}"
            member = Member(index, identity, self.parties.encryptions[index], self.policy)
            witness = self.encoded.__setitem__
            journal = Journal(folder / "journal")
            self.agents.append(Agent(member, journal, folder / "outbox", now, os.urandom, witness))

    def client(self) -> Client:
        """A new connection that shares the relay's spool."""
        client = self.connect()
        client.spool = self.spool
        return client

    def proof(self, client: Client, first: int, second: int) -> tuple[bytes, ...]:
        tree = MerkleLog(map(leaf_hash, client.leaves()))
        return tree.consistency_proof(*sorted((first, second)))

    def prepare(self, client: Client, nodes: Iterable[int] | None = None) -> None:
        """Every node appraises, endorses, takes a release that it missed, and holds an update."""
        for index in range(len(self.agents)) if nodes is None else nodes:
            agent = self.agents[index]
            evidence = client.ask(link.Attest(agent.challenge())).evidence
            appraisal = agent.appraise(evidence)
            endorsement = agent.endorse(
                appraisal, self.proof(client, agent.last_log_size, appraisal.checkpoint.size)
            )
            assert client.ask(link.Deliver(endorsement, None)) == link.Heard(())
            self.catch_up(client, agent, appraisal)
            agent.prepare(self.update(agent, index), appraisal)

    def catch_up(self, client: Client, agent: Agent, appraisal: Appraisal) -> None:
        for round_, data in sorted(self.releases.items()):
            last = agent.seen.released.get(MODEL)
            if last is not None and last.round >= round_:
                continue
            release = Release.from_bytes(Envelope.from_bytes(data, 1 << 28).body, 1 << 28)
            verify_receipt(release.receipt, appraisal.receipt_key)
            size = SignedCheckpoint.from_bytes(release.checkpoint, 8192).checkpoint.size
            agent.adopt(data, appraisal, self.proof(client, agent.last_log_size, size))

    def update(self, agent: Agent, index: int) -> Update:
        values = np.random.default_rng(index).normal(0, 1, self.numbers.parameters).astype(np.float32)
        counters = tuple(1000 * index + place for place in range(self.numbers.counters))
        base = agent.seen.base_digest(self.policy, MODEL)
        return Update(MODEL, base, values, 1 + index % self.numbers.weight_cap, counters)

    def deliver(
        self, client: Client, said: Iterable[tuple[int | None, bytes]], only: Iterable[int] | None = None
    ) -> list[link.Heard]:
        """Hand messages to the nodes and their replies to the enclave."""
        heard: list[link.Heard] = []
        chosen = list(range(len(self.agents)) if only is None else only)
        size = client.status().log_size
        offer_proofs = {}
        for recipient, data in said:
            for index in chosen if recipient is None else [recipient]:
                if index not in chosen:
                    continue
                agent = self.agents[index]
                if agent.last_log_size not in offer_proofs and agent.last_log_size <= size:
                    offer_proofs[agent.last_log_size] = self.offer_proof(client, agent, data)
                with suppress(PeerFault):
                    reply = agent.receive(data, offer_proofs.get(agent.last_log_size, ()))
                    if reply is not None:
                        heard.append(self.upload(client, index, reply))
        return heard

    def offer_proof(self, client: Client, agent: Agent, data: bytes) -> tuple[bytes, ...]:
        envelope = Envelope.from_bytes(data, 1 << 28)
        if BY_KIND[envelope.kind].record is not Offer:
            return ()
        return self.proof(client, agent.last_log_size, Offer.from_bytes(envelope.body, 4096).checkpoint.size)

    def upload(self, client: Client, index: int, reply: Reply) -> link.Heard:
        kind = BY_KIND[Envelope.from_bytes(reply.control, 1 << 28).kind].name
        if reply.payload is not None:
            vector = self.spool.vectors[index] = bytes(reply.payload)
            self.submitted[index] = reply.control
            return client.ask(link.Deliver(reply.control, len(vector)), vector)
        if kind == "Share":
            self.spool.shares[index] = reply.control
        return client.ask(link.Deliver(reply.control, None))

    def recover(self, client: Client) -> None:
        """After a restart of the enclave: tell the nodes what became of the attempt."""
        status = client.status()
        if status.phase == link.LOST:
            self.deliver(client, client.close_phase(link.LOST))
        elif status.phase == "Released":
            said = client.close_phase("Unmasking")
            self.releases[status.place.round] = said[0][1]
            self.deliver(client, said)

    def begin(self, client: Client) -> list[tuple[int | None, bytes]]:
        """Every node is ready, and the next attempt is open; the Offer is not delivered yet."""
        self.prepare(client)
        status = client.status()
        place = next((entry for entry in status.places if entry.model == MODEL), link.Place(MODEL, 0, 0))
        self.where = (place.round, place.attempt + 1) if status.again else (place.round + 1, 1)
        self.spool.vectors.clear()
        self.spool.shares.clear()
        return client.open(*self.where)

    def until(self, client: Client, phase: str, after_share: Iterable[int] = ()) -> set[int]:
        """Play until this phase has all its messages and is not closed; the nodes still there."""
        alive, said = set(range(len(self.agents))), self.begin(client)
        for name in PHASES:
            self.deliver(client, said, sorted(alive))
            if name == phase:
                return alive
            alive -= set(after_share) if name == "Sharing" else set()
            said = client.close_phase(name)
        raise ValueError(phase)

    def round(self, client: Client, after_share: Iterable[int] = ()) -> link.Status:
        """One attempt at the next place, to its end. Nodes in `after_share` deal and then vanish."""
        alive, said = set(range(len(self.agents))), self.begin(client)
        for name in PHASES:
            self.deliver(client, said, sorted(alive))
            alive -= set(after_share) if name == "Sharing" else set()
            said = client.close_phase(name)
            if client.status().phase == "Aborted":
                break
        if client.status().phase == "Released":
            self.releases[self.where[0]] = said[0][1]
        self.deliver(client, said, sorted(alive))
        return client.status()
