"""Everybody who follows policies, each over its real files: a node, an enclave that runs or starts, a gateway.

`offer` puts a bundle before the party at a time, and gives the code of its refusal, None where it follows.
`memory` is what the party follows and remembers: no refusal may change it.
"""

import os
import re
import threading
from pathlib import Path

import pytest
from tests.enclave.hosting import Client, RefusedQuestion
from tests.playground import NOW, initial
from tests.policy.court import Court

from crimson_enclave.followed import follow
from crimson_enclave.host import start as starting
from crimson_enclave.host.folder import StateFolder
from crimson_enclave.host.gate import Gate
from crimson_enclave.host.home import HomeFiles
from crimson_enclave.host.launcher import open_socket
from crimson_enclave.host.server import Server
from crimson_enclave.host.start import Started, start_from_home
from crimson_gateway.published import LAST, TRUST, read_published
from crimson_node.home import NodeHome, NodeKeys
from crimson_node.journal import Journal
from crimson_node.service.membership import Membership
from crimson_protocol.errors import CrimsonError
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.key_files import to_pem
from crimson_protocol.wire import link

Memory = tuple[bytes, ...]


class Node:
    """A node that asks its gateway for the policy before every round."""

    def __init__(self, folder: Path, court: Court, _: pytest.MonkeyPatch) -> None:
        folder.mkdir()
        self.home, self.bundle, self.now = NodeHome(folder), b"", NOW
        self.home.trust_anchor.write_bytes(court.roots[0])
        keys = NodeKeys(court.members.identities[0], court.members.encryptions[0])
        self.membership = Membership(
            home=self.home,
            name="site-0",
            keys=keys,
            journal=Journal(self.home.journal),
            gateway=self,
            clock=lambda: self.now,
            entropy=os.urandom,
            report=lambda _: None,
        )

    def policy(self) -> bytes:
        return self.bundle

    def offer(self, bundle: bytes, now: int = NOW) -> Refusal | None:
        self.bundle, self.now = bundle, now
        try:
            self.membership.refresh()
        except CrimsonError as error:
            return error.code
        return None

    def memory(self) -> Memory:
        return self.membership.agent.member.policy.digest(), self.home.trust.read_bytes()


class StartingEnclave:
    """An enclave that finds the bundle in its home when it starts, beside the one in its sealed state."""

    def __init__(self, folder: Path, court: Court, patch: pytest.MonkeyPatch) -> None:
        self.court, self.patch, self.state = court, patch, folder / "state"
        self.state.mkdir(parents=True)
        self.started: Started | None = None

    def start(self, bundle: bytes, now: int) -> Started:
        self.patch.setattr(starting, "now", lambda: now)
        policy = self.court.members.policy
        artifacts = {rules.initial_digest: initial(rules.numbers) for rules in policy.models}
        root = to_pem(self.court.members.root)
        folder = StateFolder(self.state)
        try:
            files = HomeFiles(bundle, self.court.roots[0], root, bytes(32), artifacts)
            return start_from_home(files, bytes(32), (), folder)
        finally:
            folder.close()

    def offer(self, bundle: bytes, now: int = NOW) -> Refusal | None:
        before = self.started
        try:
            self.started = self.start(bundle, now)
            # It goes on with the policy that it knows; what the other was refused for is in its log line alone.
            follow((before or self.started).keeper.followed.trust, bundle, now)
        except CrimsonError as error:
            return error.code
        return None

    def memory(self) -> Memory:
        kept = self.started.keeper.state
        return self.started.session.policy.digest(), kept.trust.to_bytes(), kept.bundle.digest


class RunningEnclave(StartingEnclave):
    """An enclave that is told of a bundle over its link."""

    client: Client | None = None

    def offer(self, bundle: bytes, now: int = NOW) -> Refusal | None:
        if self.client is None:
            self.started = self.start(bundle, now)
            self.serve()
            return None
        self.gate._session.clock = lambda: now
        try:
            self.client.ask(link.Adopt(bundle, ()))
        except RefusedQuestion as refusal:
            return Refusal(str(refusal))
        return None

    def serve(self) -> None:
        self.gate, place = Gate(self.started), self.state.parent / "e.sock"
        server = Server(open_socket(place), self.gate, 30.0)
        threading.Thread(target=server.run, daemon=True).start()
        self.client = Client(place)

    def memory(self) -> Memory:
        status = self.client.status()
        return status.policy, status.instance, self.client.leaves()[-1], (self.state / "state").read_bytes()


class Gateway:
    """A gateway that finds the bundle in its policy repository."""

    def __init__(self, folder: Path, court: Court, _: pytest.MonkeyPatch) -> None:
        self.home, self.repository = folder / "gateway", folder / "repository"
        self.home.mkdir(parents=True)
        self.repository.mkdir()
        (self.home / "root.json").write_bytes(court.roots[0])
        self.complaint, self.digest = "", b""

    def error(self, _: str, reason: str, instead: str) -> None:
        assert instead == LAST
        self.complaint = reason

    def offer(self, bundle: bytes, now: int = NOW) -> Refusal | None:
        (self.repository / "policy.bundle").write_bytes(bundle)
        self.complaint = ""
        try:
            self.digest = read_published(self.home, self.repository, now, self).policy.digest()
        except CrimsonError as error:
            return error.code
        if "no plain file" in self.complaint:
            return Refusal.TOO_LARGE
        return Refusal(re.search(r"\[([a-z-]+)\]", self.complaint)[1]) if self.complaint else None

    def memory(self) -> Memory:
        return self.digest, (self.home / TRUST).read_bytes(), (self.home / LAST).read_bytes()


FOLLOWERS = {
    "node": Node,
    "running enclave": RunningEnclave,
    "starting enclave": StartingEnclave,
    "gateway": Gateway,
}
