"""A node for tests: the real agent, an update made of numbers, and the signed client as its way out."""

import hashlib
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
from tests.gateway.signed_client import SignedClient
from tests.playground import MODEL, Parties, parse

from crimson_node.agent import Agent
from crimson_node.journal import Journal
from crimson_node.member import Member, Update
from crimson_node.state import Finished, Ready
from crimson_protocol.errors import PeerFault
from crimson_protocol.events import SignedCheckpoint
from crimson_protocol.wire import web
from crimson_protocol.wire.messages.advertise import Offer


class Refused(Exception):
    """The gateway answered with a problem."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"{response.status_code} {response.text}")
        self.response = response


class Hospital:
    """One node. `patience`: seconds for which a gateway that is away is asked again."""

    def __init__(
        self, home: Path, index: int, parties: Parties, client: SignedClient, patience: float = 30
    ) -> None:
        self.index, self.parties, self.client, self.patience = index, parties, client, patience
        member = Member(index, parties.identities[index], parties.encryptions[index], parties.policy)
        self.encoded: dict[int, np.ndarray] = {}
        self.agent = Agent(
            member,
            Journal(home / f"node-{index}" / "journal"),
            home / f"node-{index}" / "outbox",
            lambda: int(time.time()),
            os.urandom,
            self.encoded.__setitem__,
        )
        self.numbers = parties.policy.models[0].numbers
        self.state = ""
        self.payloads: list[bytes] = []
        self.pause_before: dict[str, threading.Event] = {}
        self.stop_after: str | None = None

    def ask(self, method: str, path: str, body: bytes = b"", **options: object) -> httpx.Response:
        """Ask until there is an answer; every try is signed anew."""
        end = time.monotonic() + self.patience
        while True:
            try:
                response = self.client.ask(method, path, body, **options)
            except httpx.TransportError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
                continue
            if response.status_code == 503 and time.monotonic() < end:
                time.sleep(0.1)
                continue
            if response.status_code >= 400:
                raise Refused(response)
            return response

    def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        first, second = sorted((first, second))
        answer = self.ask("GET", "/v1/consistency", query={"first": first, "second": second})
        return web.ProofHashes.from_bytes(answer.content, 4096).hashes

    def vouch(self):
        """Appraise the enclave and endorse it; take a release that was missed."""
        nonce = self.agent.challenge()
        evidence = self.ask("GET", "/v1/evidence", query={"nonce": nonce.hex()}).content
        appraisal = self.agent.appraise(evidence)
        proof = self.consistency(self.agent.last_log_size, appraisal.checkpoint.size)
        self.ask("POST", "/v1/endorsements", self.agent.endorse(appraisal, proof))
        try:
            release = self.ask("GET", f"/v1/models/{MODEL}/release").content
        except Refused:
            return appraisal
        size = SignedCheckpoint.from_bytes(parse(release).checkpoint, 8192).checkpoint.size
        with suppress(PeerFault):
            self.agent.adopt(release, appraisal, self.consistency(self.agent.last_log_size, size))
        return appraisal

    def update(self) -> Update:
        values = np.random.default_rng(self.index).normal(0, 1, self.numbers.parameters).astype(np.float32)
        counters = tuple(1000 * self.index + place for place in range(self.numbers.counters))
        base = self.agent.seen.base_digest(self.parties.policy, MODEL)
        return Update(MODEL, base, values, 1 + self.index % self.numbers.weight_cap, counters)

    def join(self, round_id: int, update: Update) -> None:
        try:
            appraisal = self.vouch()
            self.agent.prepare(update, appraisal)
        except PeerFault:
            return
        self.ask("PUT", f"/v1/rounds/{round_id}/ready")

    def take_part(self, after: int = 0) -> str:
        """One round from its call to its end; how it ended."""
        answer = self.ask("GET", "/v1/calls", query={"after": after, "wait": 20})
        assert answer.status_code == 200, "no call"
        call = web.Call.from_bytes(answer.content, 4096)
        update = self.update()
        self.join(call.round_id, update)
        self.state, seen = web.GATHERING, 0
        while True:
            query = {"after": seen, "wait": 10, "state": self.state}
            answer = self.ask("GET", f"/v1/rounds/{call.round_id}/mail", query=query)
            mail = web.Mail.from_bytes(answer.content, web.MAX_MAIL)
            before, self.state = self.state, mail.state
            for letter in mail.letters:
                seen = letter.sequence
                self.answer(call.round_id, letter.data)
                if self.stop_after is not None and type(parse(letter.data)).__name__ == self.stop_after:
                    return "vanished"
            if mail.state in web.OVER:
                return mail.state
            again = mail.letters or before != web.GATHERING
            if mail.state == web.GATHERING and (again or self._stale()):
                self.join(call.round_id, update)

    def _stale(self) -> bool:
        if not isinstance(self.agent.state, Ready):
            return True
        nonce = self.agent.challenge()
        evidence = self.ask("GET", "/v1/evidence", query={"nonce": nonce.hex()}).content
        return self.agent.appraise(evidence).claims_digest != self.agent.state.appraisal.claims_digest

    def answer(self, round_id: int, data: bytes) -> None:
        message = parse(data)
        pause = self.pause_before.get(type(message).__name__)
        if pause is not None:
            pause.wait(60)
        proof = ()
        if isinstance(message, Offer):
            proof = self.consistency(self.agent.last_log_size, message.checkpoint.size)
        try:
            reply = self.agent.receive(data, proof)
        except PeerFault:
            return
        if reply is None:
            return
        try:
            if reply.payload is not None:
                payload = bytes(reply.payload)
                self.payloads.append(payload)
                self.ask(
                    "PUT", f"/v1/rounds/{round_id}/payloads/{hashlib.sha256(payload).hexdigest()}", payload
                )
            self.ask("POST", f"/v1/rounds/{round_id}/envelopes", reply.control)
        except Refused as refused:
            if refused.response.json()["code"] not in ("wrong-phase", "round-over"):
                raise

    @property
    def artifact(self) -> bytes | None:
        return self.agent.state.artifact if isinstance(self.agent.state, Finished) else None
