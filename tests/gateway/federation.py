"""A whole federation for tests: an enclave host, a real gateway process over TLS, and hospitals in threads."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from tests.gateway.enclave_host import EnclaveHost
from tests.gateway.hospital import Hospital
from tests.gateway.signed_client import SignedClient
from tests.playground import MODEL, Parties, initial, make_parties, sign_policy
from tests.repositories import write_repository

from crimson_protocol.policy.document import OperatorEntry
from crimson_protocol.secret.key_files import from_pem, to_pem
from crimson_protocol.secret.keys import IdentityKey

QUICK = {"gather_seconds": 30, "phase_seconds": 20, "grace_seconds": 0.2, "metrics_port": 0, "free_space": 0}


def valid_now(parties: Parties) -> Parties:
    """The parties under a policy that lasts as long as any test."""
    policy = replace(parties.policy, expires=int(time.time()) + 10**6)
    return replace(parties, policy=policy, signed=sign_policy(parties.governor, policy))


def crimson(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    code = "import sys; from crimson_protocol.launcher import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


class Federation:
    """Everything real but the machines."""

    def __init__(
        self, folder: Path, nodes: int = 5, parties: Parties | None = None, **settings: object
    ) -> None:
        self.folder = folder
        self.home = folder / "gateway"
        self.port = 0
        self.process: subprocess.Popen[str] | None = None
        done = crimson("gateway", "init", "--home", str(self.home), "--port", "0")
        assert done.returncode == 0, done.stderr
        self.set(**{**QUICK, **settings})
        self.operator_public = from_pem(IdentityKey, self.operator_key.read_bytes()).public
        made = parties or valid_now(make_parties(nodes, seed=os.urandom(4).hex()))
        self.parties = self.governed(made, operators=(self.operator_entry,))
        self.enclave = EnclaveHost(folder / "enclave", self.parties)
        self.publish()
        self._clients: list[SignedClient] = []

    @property
    def operator_key(self) -> Path:
        return self.home / "keys" / "operator.pem"

    @property
    def operator_entry(self) -> OperatorEntry:
        """Whom `init` made a key for, with every role."""
        return OperatorEntry("operator", self.operator_public, ("backend", "rounds"))

    def governed(self, parties: Parties, **changes: object) -> Parties:
        """The parties under a changed policy."""
        policy = replace(parties.policy, **changes)
        return replace(parties, policy=policy, signed=sign_policy(parties.governor, policy))

    def publish(self, **changes: object) -> None:
        """Put the policy, changed perhaps, where the gateway looks for it."""
        if changes:
            changes = {"serial": self.parties.policy.serial + 1, **changes}
            self.parties = self.governed(self.parties, **changes)
        write_repository(self.home, self.parties, [initial(r.numbers) for r in self.parties.policy.models])

    def set(self, **settings: object) -> None:
        """Change settings for the next start."""
        path = self.home / "gateway.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))

    def start(self, before: Callable[[], None] | None = None) -> None:
        """Start the gateway; the same port again after a restart. `before` runs in the new process."""
        code = "import sys; from crimson_protocol.launcher import main; sys.exit(main())"
        socket = str(self.enclave.home.socket)
        command = [sys.executable, "-c", code, "gateway", "serve", "--home", str(self.home), "--json"]
        command += ["--port", str(self.port), "--enclave-socket", socket]
        with open(self.folder / "gateway.log", "a") as log:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                preexec_fn=before,  # noqa: PLW1509
            )
        line = self.process.stdout.readline()
        assert line, (self.folder / "gateway.log").read_text()[-3000:]
        ready = json.loads(line)
        self.url, self.metrics = ready["url"], ready["metrics"]
        self.port = int(self.url.rsplit(":", 1)[1])

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    @property
    def resident(self) -> int:
        """Bytes of memory that the gateway holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) << 10

    def stop(self) -> int:
        """SIGTERM, as an operator does it; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def close(self) -> None:
        """End everything."""
        for client in self._clients:
            client.close()
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.enclave.kill()

    @property
    def authority(self) -> Path:
        return self.home / "tls" / "ca.pem"

    def client(self, index: int, **options: object) -> SignedClient:
        """A node's client."""
        return self.signing(self.parties.identities[index], **options)

    def signing(self, key: IdentityKey, **options: object) -> SignedClient:
        """A client that signs with any key."""
        return self._keep(SignedClient(self.url, self.authority, to_pem(key), key.public, **options))

    def operator(self) -> SignedClient:
        """The operator's client, with the key that `init` made."""
        pem = self.operator_key.read_bytes()
        return self._keep(SignedClient(self.url, self.authority, pem, self.operator_public))

    def _keep(self, client: SignedClient) -> SignedClient:
        self._clients.append(client)
        return client

    def hospitals(self, **options: object) -> list[Hospital]:
        """One for every node of the roster."""
        return [
            Hospital(self.folder, index, self.parties, self.client(index), **options)
            for index in range(len(self.parties.policy.roster))
        ]

    def order_round(self, key: str | None = None) -> dict[str, object]:
        """Start a round as the operator."""
        headers = {"Idempotency-Key": key or os.urandom(8).hex()}
        body = json.dumps({"model": MODEL}).encode()
        answer = self.operator().ask("POST", "/v1/rounds", body, headers=headers)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def round(self, round_id: int) -> dict[str, object]:
        """Where a round stands."""
        return self.operator().ask("GET", f"/v1/rounds/{round_id}").json()

    def wait_until(self, round_id: int, state: str, seconds: float = 40) -> dict[str, object]:
        """The round once it is in a state."""
        end, view, operator = time.monotonic() + seconds, {}, self.operator()
        while time.monotonic() < end:
            view = operator.ask(
                "GET", f"/v1/rounds/{round_id}", query={"version": view.get("version", 0), "wait": 5}
            ).json()
            if view["state"] == state:
                return view
        raise AssertionError(f"the round is not {state}: {view}")


class Together:
    """Hospitals that take part in one round at the same time."""

    def __init__(self, hospitals: list[Hospital], after: int = 0) -> None:
        self.ended: dict[int, str] = {}
        self.errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._one, args=(h, after), daemon=True) for h in hospitals]
        for thread in self._threads:
            thread.start()

    def _one(self, hospital: Hospital, after: int) -> None:
        try:
            self.ended[hospital.index] = hospital.take_part(after)
        except BaseException as error:
            self.errors.append(error)

    def join(self, seconds: float = 60) -> dict[int, str]:
        """How the round ended for each."""
        for thread in self._threads:
            thread.join(seconds)
        if self.errors:
            raise self.errors[0]
        return self.ended


def submitting_round(federation: Federation) -> int:
    """A round in the phase that takes vectors, written into the database of a gateway without an enclave."""
    now = datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" ")
    with closing(sqlite3.connect(federation.home / "gateway.db")) as database, database:
        row = database.execute(
            "INSERT INTO rounds (model, number, attempt, state, waiting, created, phase_began, deadline, version)"
            " VALUES (?, 1, 1, 'submitting', '[]', ?, ?, ?, 1)",
            (MODEL, now, now, now),
        )
        return row.lastrowid
