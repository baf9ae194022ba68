"""The sealed state: what a crash, a full disk, an older copy or an altered file can do to it."""

import errno
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from tests.enclave.conftest import Inline
from tests.enclave.hosting import Client, Hosted, RefusedQuestion, now, resigned
from tests.playground import MODEL

from crimson_enclave.host import folder as folder_module
from crimson_enclave.host.failure import Failure
from crimson_enclave.host.folder import Uncertain
from crimson_enclave.host.gate import Gate
from crimson_enclave.sealed.vault import Damaged
from crimson_protocol.errors import CallerFault, CrimsonError, PeerFault, PolicyRefusal
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.sealing import SealKey
from crimson_protocol.wire import link

WRITES = ("write", "fsync", "replace", "ftruncate")
STRIDE = int(os.environ.get("CRIMSON_STRIDE", "5"))
"""`make test` crashes at every fifth write, so that all four kinds are met in turn; `make chaos` at every one."""


def places(total: int) -> list[int]:
    """The writes to crash at: by STRIDE, and the last two, where what was new comes into force."""
    return sorted({*range(1, total + 1, STRIDE), total - 1, total})


class Crash(BaseException):
    """The machine is gone."""


def trip(
    patch: pytest.MonkeyPatch, at: int, error: Callable[[], BaseException], *, folders: bool = True
) -> list[int]:
    """Every write of the state folder counts; the one number `at` fails. Gives the live count.

    `folders`: whether flushing a folder counts. A full disk does not fail there, a crash may.
    """
    count = [0]

    def tripping(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            if real is os.fsync and not folders and stat.S_ISDIR(os.fstat(arguments[0]).st_mode):
                return real(*arguments)
            count[0] += 1
            if count[0] == at:
                if real is os.write:
                    real(arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise error()
            return real(*arguments)

        return call

    class Os:
        def __getattr__(self, name: str) -> object:
            real = getattr(os, name)
            return tripping(real) if name in WRITES else real

    patch.setattr(folder_module, "os", Os())
    return count


class Stubborn(Client):
    """Asks again when the enclave could not keep its state."""

    refused = 0

    def ask(self, question, vector=None):
        try:
            return super().ask(question, vector)
        except RefusedQuestion as refusal:
            if str(refusal) != "state-not-kept":
                raise
            self.refused += 1
            return super().ask(question, vector)


def test_a_restart_continues_where_the_release_left(inline: Inline, hosted: Hosted):
    inline.serve()
    client = hosted.client()
    assert hosted.round(client).phase == "Released"
    before, log = hosted.releases[1], client.leaves()
    inline.crash()
    inline.serve()
    client = hosted.client()
    status = client.status()
    assert (status.epoch, status.phase, status.endorsed) == (2, "Released", ())
    assert client.close_phase("Unmasking") == [(None, before)]
    assert client.leaves()[: len(log)] == log
    assert hosted.round(client).places == (link.Place(MODEL, 2, 1),)
    assert len(inline.opened) == 2


@pytest.mark.parametrize("phase", ["Advertising", "Sharing", "Submitting", "Confirming", "Unmasking"])
def test_a_restart_ends_the_running_attempt(inline: Inline, hosted: Hosted, phase: str):
    inline.serve()
    hosted.until(hosted.client(), phase)
    inline.crash()
    inline.serve()
    client = hosted.client()
    status = client.status()
    shown = phase in ("Confirming", "Unmasking")
    assert (status.phase, status.code, status.again) == ("Lost", "restarted", not shown)
    hosted.recover(client)
    # The same words as often as they are asked for.
    assert client.close_phase("Lost") == client.close_phase("Lost")
    assert hosted.round(client).phase == "Released"
    assert client.status().places[0] == (link.Place(MODEL, 2, 1) if shown else link.Place(MODEL, 1, 2))


def test_a_crash_at_every_write_leaves_one_whole_state(inline: Inline, hosted: Hosted, tmp_path, monkeypatch):
    """A dry run counts the writes of a start and a round; then each of them is where the machine dies."""
    with monkeypatch.context() as patch:
        count = trip(patch, 0, Crash)
        play(inline, hosted)
        total = count[0]
    assert total > 40
    for at in places(total):
        home = tmp_path / f"crash-{at}"
        again, nodes = Inline(home / "enclave", inline.parties), None
        nodes = Hosted(home / "nodes", inline.parties, lambda again=again: again.session_client())
        with monkeypatch.context() as patch:
            trip(patch, at, Crash)
            with suppress(Crash):
                play(again, nodes)
        after(again, nodes)


def play(inline: Inline, hosted: Hosted) -> None:
    """One start and one round without a socket, so that a crash ends it where it happens."""
    inline.start()
    inline.direct = Direct(inline)
    hosted.connect = lambda: inline.direct
    hosted.round(hosted.client())


def after(inline: Inline, hosted: Hosted) -> None:
    """What a restart finds, and that the next round completes."""
    verdict_shown, released = (getattr(inline, "direct", None) or Direct(None)).shown
    with suppress(AttributeError, OSError):
        inline.folder.close()
    inline.start()
    session = inline.started.session
    assert session.instance.claims.epoch >= 1
    if verdict_shown and not released:
        assert session.lost is None or not session.lost.again
    if released:
        assert session.published[MODEL] == released
    inline.direct = Direct(inline)
    hosted.connect = lambda: inline.direct
    client = hosted.client()
    hosted.recover(client)
    assert hosted.round(client).phase == "Released"
    inline.crash()


class Direct(Client):
    """The gate without a socket: frames are handed over as records, a crash comes through as it is."""

    def __init__(self, inline: Inline | None) -> None:
        self.said, self.fetched, self.shown = [], [], (False, b"")
        if inline is not None:
            started = inline.started
            self.gate = Gate(started)

    def ask(self, question, vector=None):
        self.said, self.answers, self.vector = [], [], vector
        self.gate.answer(question, self)
        for answer in self.answers:
            if isinstance(answer, link.Said):
                self.said.append((answer.recipient, answer.data))
        closed = question.phase if isinstance(question, link.Close) else ""
        if closed == "Submitting":
            self.shown = (True, b"")
        if closed == "Unmasking" and self.answers[-1].phase == "Released":
            self.shown = (True, self.said[0][1])
        if isinstance(self.answers[-1], link.Refused):
            raise RefusedQuestion(self.answers[-1].code)
        return self.answers[-1]

    def send(self, message) -> None:
        if isinstance(message, link.Fetch):
            self.vector = self.fetch(message)
        else:
            self.answers.append(message)

    def pieces(self, most):
        assert len(self.vector) <= most
        yield self.vector


def test_a_full_disk_loses_nothing(inline: Inline, hosted: Hosted, monkeypatch):
    """Whichever write fails, the question is refused, nothing is said, and asking again goes on."""
    inline.serve()
    full, at, refused = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 1, 1
    hosted.connect = lambda: Stubborn(inline.home / f"{inline.starts}.sock")
    while refused:
        with monkeypatch.context() as patch:
            trip(patch, at, lambda: full, folders=False)
            client = hosted.client()
            assert hosted.round(client).phase == "Released"
            refused, at = client.refused, at + 2
            client.close()
    assert at > 20
    assert [path for path in inline.state.iterdir() if path.suffix == ".new"] == []
    log = hosted.client().leaves()
    inline.crash()
    inline.serve()
    assert hosted.client().leaves()[: len(log)] == log


def test_an_older_copy_of_the_state_gets_no_quorum(inline: Inline, hosted: Hosted, tmp_path):
    inline.serve()
    hosted.round(hosted.client())
    older = inline.copy(tmp_path / "older")
    hosted.round(hosted.client())
    inline.crash()
    older.serve()
    client = Client(older.home / "1.sock")
    for agent in hosted.agents:
        appraisal = agent.appraise(client.ask(link.Attest(agent.challenge())).evidence)
        with pytest.raises(PeerFault) as found:
            agent.endorse(appraisal, hosted.proof(client, appraisal.checkpoint.size, 0))
        assert found.value.code is Refusal.LOG_WENT_BACK
    with pytest.raises(RefusedQuestion, match="not-endorsed"):
        client.open(2)


def test_of_two_instances_on_one_state_only_one_gets_a_quorum(inline: Inline, hosted: Hosted, tmp_path):
    inline.serve()
    hosted.round(hosted.client())
    inline.crash()
    twin = inline.copy(tmp_path / "twin")
    places = [twin.serve(), inline.serve()]
    for index, agent in enumerate(hosted.agents):
        first, second = places if index < 4 else reversed(places)
        endorse(hosted, agent, Client(first))
        with pytest.raises(PeerFault) as found:
            endorse(hosted, agent, Client(second))
        assert found.value.code is Refusal.SECOND_INSTANCE
    Client(places[0]).open(2)
    with pytest.raises(RefusedQuestion, match="not-endorsed"):
        Client(places[1]).open(2)


def endorse(hosted: Hosted, agent, client: Client) -> None:
    appraisal = agent.appraise(client.ask(link.Attest(agent.challenge())).evidence)
    proof = hosted.proof(client, agent.last_log_size, appraisal.checkpoint.size)
    client.ask(link.Deliver(agent.endorse(appraisal, proof), None))


def test_two_processes_never_share_a_state_folder(inline: Inline):
    inline.start()
    with pytest.raises(Failure) as found:
        Inline(inline.home, inline.parties).start()
    assert (found.value.code, found.value.exit_code) == ("state-in-use", 4)


@pytest.mark.parametrize("name", ["state", "log", "file-"])
@pytest.mark.parametrize("place", ["first", "last"])
def test_an_altered_file_is_refused(inline: Inline, hosted: Hosted, name: str, place: str):
    released(inline, hosted)
    for path in [path for path in inline.state.iterdir() if path.name.startswith(name)]:
        good = path.read_bytes()
        at = 10 if place == "first" else len(good) - 1
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(Damaged):
            inline.start()
        path.write_bytes(good)
    inline.start()


def test_a_shorter_log_is_refused(inline: Inline, hosted: Hosted):
    released(inline, hosted)
    log = inline.state / "log"
    log.write_bytes(log.read_bytes()[:-1])
    with pytest.raises(Damaged) as found:
        inline.start()
    assert found.value.code is Refusal.LOG_WENT_BACK


def test_a_longer_log_is_cut_to_what_the_state_names(inline: Inline, hosted: Hosted):
    released(inline, hosted)
    log = inline.state / "log"
    size = len(log.read_bytes())
    log.write_bytes(log.read_bytes() + b"\x00\x00\x00\x02ab\x00\x00\x00\xff torn")
    inline.start()
    assert b"torn" not in log.read_bytes()
    assert len(log.read_bytes()) > size


@pytest.mark.parametrize("missing", ["state", "log", "file-"])
def test_a_missing_file_is_refused(inline: Inline, hosted: Hosted, missing: str):
    released(inline, hosted)
    next(path for path in inline.state.iterdir() if path.name.startswith(missing)).unlink()
    with pytest.raises(Damaged):
        inline.start()


def released(inline: Inline, hosted: Hosted) -> None:
    inline.serve()
    hosted.round(hosted.client())
    inline.crash()


def test_a_policy_that_does_not_follow_is_refused(inline: Inline, hosted: Hosted):
    released(inline, hosted)
    inline.parties = resigned(inline.parties, serial=2, federation="another")
    with pytest.raises(PolicyRefusal) as found:
        inline.start()
    assert found.value.code is Refusal.POLICY_REJECTED


@pytest.mark.parametrize("change", [{"serial": 1}, {"expires": now() + 2 * 10**6}])
def test_a_home_with_an_earlier_or_a_second_policy_stays_with_the_one_in_the_state(
    inline: Inline, hosted: Hosted, change
):
    released(inline, hosted)
    inline.parties = resigned(inline.parties, serial=2)
    before = inline.start().session.policy.digest()
    inline.crash()
    inline.parties = resigned(inline.parties, **change)
    assert inline.start().session.policy.digest() == before


def test_a_newer_policy_goes_on_with_the_state(inline: Inline, hosted: Hosted):
    released(inline, hosted)
    inline.parties = resigned(inline.parties, serial=2)
    assert inline.start().session.places == {MODEL: (1, 1)}


@pytest.mark.parametrize(("part", "code"), [("key", Refusal.BAD_BOX), ("anchor", Refusal.WRONG_CONTEXT)])
def test_a_state_under_another_key_or_root_does_not_open(inline: Inline, hosted: Hosted, part: str, code):
    released(inline, hosted)
    other = {
        "key": SealKey(bytes(32)),
        "anchor": bytes(32),
    }[part]
    wrong = replace(inline.vault(), **{part: other})
    inline.vault = lambda: wrong
    with pytest.raises((Damaged, CallerFault)) as found:
        inline.start()
    assert found.value.code is code


def test_a_sealed_artifact_of_one_model_opens_as_no_other(inline: Inline):
    vault = inline.vault()
    stored, sealed = vault.seal_artifact("one", b"parameters")
    assert vault.open_artifact("one", stored, sealed) == b"parameters"
    with pytest.raises(Damaged):
        vault.open_artifact("two", stored, sealed)


def test_nothing_secret_lies_in_the_folder_or_in_text(inline: Inline, hosted: Hosted):
    released(inline, hosted)
    started = inline.start()
    signing = started.session.instance.signing.reveal()
    artifact = started.session.artifacts[MODEL]
    stored = b"".join(path.read_bytes() for path in inline.state.iterdir() if path.is_file())
    assert signing[:16] not in stored
    assert artifact[8:40] not in stored
    text = repr(started.keeper.state) + repr(inline.vault()) + str(CrimsonError(Refusal.MALFORMED, "x"))
    assert repr(signing)[2:20] not in text
    assert all(oct(path.stat().st_mode)[-3:] == "600" for path in inline.state.iterdir())


def test_the_folder_does_not_grow_with_rounds(inline: Inline, hosted: Hosted):
    inline.serve()
    client = hosted.client()
    for _ in range(3):
        hosted.round(client)
    assert len([path for path in inline.state.iterdir() if path.name.startswith("file-")]) == 3
    shutil.rmtree(inline.state)


def test_a_flush_that_fails_after_the_rename_ends_the_process(inline: Inline, hosted: Hosted, monkeypatch):
    """Old state or new state may be on disk, so nothing more is said; a restart finds one of them whole."""
    inline.start()
    inline.direct = Direct(inline)
    hosted.connect = lambda: inline.direct
    hosted.prepare(inline.direct)
    with monkeypatch.context() as patch:
        patch.setattr(inline.folder, "_sync", unplugged)
        with pytest.raises(Uncertain):
            inline.direct.open(1)
    assert inline.direct.said == []
    inline.crash()
    assert inline.start().session.lost.again


def unplugged() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))
