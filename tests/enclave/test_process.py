"""The real thing: `crimson enclave` processes in their sandbox, over their socket, killed and started again."""

import json
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.enclave.hosting import Client, Gone, Hosted, RefusedQuestion, resigned, write_home
from tests.playground import MODEL, Parties, make_parties

from crimson_enclave.host.launcher import Launch, launch
from crimson_enclave.host.start import now
from crimson_enclave.isolation import REQUIRED
from crimson_enclave.measurement import measure
from crimson_protocol.artifact import MAX_ARTIFACT, Artifact
from crimson_protocol.wire import link

ENCLAVE = (
    sys.executable,
    "-c",
    "import sys; from crimson_protocol.launcher import main; sys.exit(main())",
    "enclave",
)
KILLS = int(os.environ.get("CRIMSON_KILLS", "2"))


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    line = [*ENCLAVE, *map(str, arguments)]
    return subprocess.run(
        line, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **environment}
    )


@contextmanager
def serving(home: Path, *arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen, dict]]:
    """`crimson enclave serve --json` until it says ready, and what it said."""
    line = [*ENCLAVE, "serve", "--home", str(home), "--json", *arguments]
    with subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.terminate()
            process.wait(20)


def test_six_hospitals_and_a_real_enclave_release_two_rounds(tmp_path, parties: Parties):
    home = write_home(tmp_path / "enclave", parties)
    with serving(home) as (_, told):
        assert told["ready"] and told["isolated"]
        assert [name for name in REQUIRED if not told["measures"][name]] == []
        place = Path(told["socket"])
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
        hosted = Hosted(tmp_path / "nodes", parties, lambda: Client(place))
        client = hosted.client()
        assert hosted.round(client).phase == "Released"
        assert hosted.round(client, after_share=[5]).places == (link.Place(MODEL, 2, 1),)
        states = [agent.state for agent in hosted.agents[:5]]
        artifacts = {state.artifact for state in states}
        assert len(artifacts) == 1
        assert Artifact.from_bytes(artifacts.pop(), MAX_ARTIFACT).vector().any()
        client.close()
        shown = run("evidence", "--home", home, "--json")
        data = json.loads(shown.stdout)["data"]
        assert shown.returncode == 0
        assert (data["kind"], data["label"], data["isolated"]) == ("sim", "SIMULATED", True)
        assert data["measures"] == told["measures"]
        assert (
            data["measurement"]
            == measure().hex()
            == json.loads(run("measure", "--json").stdout)["data"]["measurement"]
        )
    assert not place.exists()


class Killer(Client):
    """A connection that kills the enclave after `left` frames were sent."""

    left = 0
    victim = None

    def send(self, data: bytes) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(self.victim.process.pid, signal.SIGKILL)
        super().send(data)


def test_kill_9_at_random_moments(process, parties: Parties, tmp_path):
    """After each kill: the attempt ended cleanly or was released, and the next round completes."""
    chance = random.Random(9)
    hosted, released = Hosted(tmp_path / "nodes", parties, lambda: connect()), 0  # noqa: PLW0108 bound below
    enclave, left = process(), 0

    def connect() -> Client:
        client = Killer(enclave.socket)
        client.left, client.victim = left, enclave
        return client

    for _ in range(KILLS):
        left = chance.randrange(10, 90)
        with suppress(Gone):
            hosted.round(hosted.client())
        enclave.process.kill()
        enclave.process.wait()
        left = 0
        enclave = process()
        client = hosted.client()
        epoch, phase = client.status().epoch, client.status().phase
        assert phase in ("Unendorsed", "Lost", "Released")
        hosted.recover(client)
        status = hosted.round(client)
        assert (status.phase, status.epoch) == ("Released", epoch)
        rounds = status.places[0].round
        assert rounds > released
        released = rounds


def inner(enclave) -> int:
    """Process id of the program in the sandbox."""
    found, waiting = enclave.process.pid, True
    while waiting:
        children = Path(f"/proc/{found}/task/{found}/children").read_text().split()
        waiting = bool(children)
        found = int(children[0]) if children else found
    return found


def resident(pid: int) -> int:
    """Resident memory in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def test_bombs_leave_the_process_and_its_memory_as_they_were(process, parties: Parties, tmp_path):
    enclave = process()
    pid = inner(enclave)
    hosted = Hosted(tmp_path / "nodes", parties, lambda: Client(enclave.socket))
    hosted.round(hosted.client())
    before = resident(pid)
    bombs = [
        (2**32 - 1).to_bytes(4, "big") + b"\x04",
        (1 << 30).to_bytes(4, "big") + b"\x07",
        (64).to_bytes(4, "big") + b"\x01" + b"\x9b" + b"\xff" * 63,
        (15000).to_bytes(4, "big") + b"\x04" + b"\x81" * 15000,
        link.frame(link.Hello(link.LINK_VERSION)) + link.frame(link.Deliver(bytes(12000), 1 << 62)),
    ]
    for _ in range(40):
        for bomb in bombs:
            client = Client(enclave.socket, greet=False)
            with suppress(Gone):
                client.send(bomb)
                client.receive()
                client.receive()
            client.close()
    assert resident(pid) - before < 8 << 20
    assert inner(enclave) == pid
    assert hosted.round(hosted.client()).phase == "Released"


def test_the_enclave_dies_with_its_launcher(tmp_path, parties: Parties):
    home = write_home(tmp_path / "enclave", parties)
    with serving(home) as (process, told):
        process.kill()
        process.wait()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                Client(Path(told["socket"])).close()
            except Gone:
                break
        else:
            raise AssertionError("it still answers")
    # A socket file that nobody listens on is no obstacle.
    with serving(home) as (_, again):
        assert again["epoch"] == 2


def test_without_bubblewrap_it_starts_and_says_that_it_is_not_isolated(tmp_path, parties: Parties):
    home = write_home(tmp_path / "enclave", parties)
    with serving(home, PATH="/nowhere") as (process, told):
        assert (told["ready"], told["isolated"]) == (True, False)
        hosted = Hosted(tmp_path / "nodes", parties, lambda: Client(Path(told["socket"])))
        client = hosted.client()
        assert hosted.round(client).phase == "Released"
        process.terminate()
        assert "bubblewrap is not installed" in process.stderr.read()


def failed(done: subprocess.CompletedProcess) -> tuple[int, str]:
    error = json.loads(done.stdout)["error"]
    assert error["message"] and "Traceback" not in done.stderr
    return done.returncode, error["code"]


def test_what_is_wrong_with_a_home_is_said(tmp_path, parties: Parties):
    def serve(home: Path) -> tuple[int, str]:
        return failed(run("serve", "--home", home, "--json"))

    assert serve(tmp_path / "empty") == (4, "home-incomplete")
    home = write_home(tmp_path / "readable", parties)
    (home / "keys" / "root.pem").chmod(0o644)
    assert serve(home) == (4, "key-readable")
    home = write_home(tmp_path / "edited", parties)
    bundle = home / "policy" / "policy.bundle"
    signed = bundle.read_bytes()
    bundle.write_bytes(signed.replace(b"organisation 1", b"organisation 7"))
    assert serve(home) == (9, "digest-differs")
    bundle.unlink()
    bundle.symlink_to(write_home(tmp_path / "elsewhere", parties) / "policy" / "policy.bundle")
    assert serve(home) == (4, "home-unreadable")
    home = write_home(tmp_path / "foreign", parties)
    (home / "root.json").write_bytes(make_parties(6, seed="another federation").first_root)
    assert serve(home) == (5, "policy-rejected")
    home = write_home(tmp_path / "expired", resigned(parties, expires=now() - 1))
    assert serve(home) == (5, "expired")
    home = write_home(tmp_path / "artifact", parties)
    next((home / "policy" / "targets" / "artifacts").iterdir()).write_bytes(b"another model")
    assert serve(home) == (4, "model-rejected")
    home = write_home(tmp_path / "root", parties)
    (home / "keys" / "root.pem").write_bytes(b"no key")
    assert serve(home) == (4, "malformed")


def test_what_is_wrong_with_a_state_is_said(tmp_path, parties: Parties):
    home = write_home(tmp_path / "enclave", parties)
    launch(Launch(home)).stop()
    write_home(home, resigned(parties, serial=2, federation="another"))
    assert failed(run("serve", "--home", home, "--json")) == (5, "policy-rejected")
    write_home(home, make_parties(6, seed="another federation"))
    assert failed(run("serve", "--home", home, "--json")) == (4, "wrong-context")
    write_home(home, parties)
    blob = home / "state" / "state"
    data = blob.read_bytes()
    blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert failed(run("serve", "--home", home, "--json")) == (9, "bad-box")
    blob.write_bytes(data)
    (home / "keys" / "seal.key").unlink()
    assert failed(run("serve", "--home", home, "--json")) == (4, "seal-key-missing")


def test_a_second_enclave_on_the_same_home_is_refused(tmp_path, parties: Parties):
    home = write_home(tmp_path / "enclave", parties)
    with serving(home) as (_, told):
        assert failed(run("serve", "--home", home, "--json")) == (4, "socket-in-use")
        elsewhere = tmp_path / "other.sock"
        second = run("serve", "--home", home, "--json", "--socket", elsewhere)
        assert failed(second) == (4, "state-in-use")
        assert Client(Path(told["socket"])).status().epoch == 1


def test_a_path_that_is_no_socket_is_left_alone(tmp_path, parties: Parties):
    home = write_home(tmp_path / "enclave", parties)
    taken = tmp_path / "file"
    taken.write_text("mine")
    assert failed(run("serve", "--home", home, "--json", "--socket", taken)) == (4, "socket-taken")
    assert taken.read_text() == "mine"
    long = tmp_path / ("x" * 120)
    assert failed(run("serve", "--home", home, "--json", "--socket", long)) == (4, "socket-path-too-long")


def test_evidence_of_an_enclave_that_the_policy_does_not_name(tmp_path, parties: Parties):
    home = write_home(tmp_path / "enclave", parties)
    assert failed(run("evidence", "--home", home, "--json")) == (2, "enclave-unreachable")
    with serving(home):
        other = resigned(parties, serial=2)
        (home / "policy" / "policy.bundle").write_bytes(other.signed)
        assert failed(run("evidence", "--home", home, "--json")) == (6, "evidence-rejected")


def test_a_disk_without_room_refuses_the_question_and_keeps_the_state(process, parties: Parties, tmp_path):
    """Every write beyond a few bytes fails in the kernel, until there is room again."""
    enclave = process()
    pid = inner(enclave)
    hosted = Hosted(tmp_path / "nodes", parties, lambda: Client(enclave.socket))
    client = hosted.client()
    assert hosted.round(client).phase == "Released"
    log = client.leaves()
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
    with pytest.raises(RefusedQuestion, match="state-not-kept"):
        hosted.begin(client)
    assert client.leaves() == log
    assert client.status().places == (link.Place(MODEL, 1, 1),)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))
    assert hosted.round(client).places == (link.Place(MODEL, 2, 1),)


def test_the_help_names_every_exit_code():
    shown = run("--help")
    assert shown.returncode == 0
    assert all(f" {code} " in shown.stdout for code in (1, 2, 3, 4, 5, 6, 9, 130))
    assert run("serve", "--nonsense").returncode == 4
