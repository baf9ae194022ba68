"""A privacy ledger on disk: killed between charge and release, set back to an older copy, started twice."""

import shutil
from contextlib import suppress

import pytest
from tests.enclave.conftest import Inline
from tests.enclave.hosting import Client, Hosted, RefusedQuestion, now, resigned
from tests.enclave.test_sealed_state import Crash, places, trip
from tests.playground import MODEL, private_parties

from crimson_enclave.aggregation.memory import Memory
from crimson_enclave.dispatch import UntrustedFrame
from crimson_enclave.measurement import measure
from crimson_enclave.sealed.vault import Damaged
from crimson_protocol.errors import CrimsonError
from crimson_protocol.policy.document import EvidenceRules, ServerRules

RELEASES = 3


@pytest.fixture
def private(tmp_path) -> tuple[Inline, Hosted]:
    return federation(tmp_path)


def federation(home, **changes: object) -> tuple[Inline, Hosted]:
    parties = private_parties(6, RELEASES, **changes)
    evidence = EvidenceRules(("sim",), (measure(),), (parties.root.public,), ())
    parties = resigned(parties, evidence=evidence, expires=now() + 10**6)
    inline = Inline(home / "enclave", parties)
    hosted = Hosted(home / "nodes", parties, lambda: Client(inline.home / f"{inline.starts}.sock"))
    return inline, hosted


def spent(inline: Inline) -> int:
    return inline.started.session.accounts.ledger.charged(MODEL)


def test_the_ledger_survives_a_restart(private):
    inline, hosted = private
    inline.serve()
    assert hosted.round(hosted.client()).phase == "Released"
    before = inline.started.session.accounts.ledger
    inline.crash()
    inline.serve()
    assert inline.started.session.accounts.ledger == before and spent(inline) == 1


def test_killed_between_charge_and_release_the_charge_stands_and_nothing_is_released_twice(private):
    inline, hosted = private
    inline.serve()
    client = hosted.client()
    hosted.until(client, "Unmasking")
    assert spent(inline) == 1
    inline.crash()
    inline.serve()
    client = hosted.client()
    assert spent(inline) == 1 and client.status().phase == "Lost" and not client.status().again
    hosted.recover(client)
    # Two more are affordable, not three.
    for left in (1, 0):
        assert hosted.round(client).phase == "Released"
        assert RELEASES - spent(inline) == left
    with pytest.raises(RefusedQuestion, match="budget-exhausted"):
        hosted.begin(client)
    assert len(inline.opened) == 2
    assert {agent.seen.charges[MODEL] for agent in hosted.agents} == {RELEASES}


def test_a_crash_at_every_write_of_a_charge_and_a_release_never_gives_budget_back(tmp_path, monkeypatch):
    """From the last confirmation to the release, each write of the folder is where the machine dies."""
    inline, hosted = federation(tmp_path / "dry")
    with monkeypatch.context() as patch:
        total = ending(inline, hosted, patch, 0)
    assert total > 8
    for at in places(total):
        inline, hosted = federation(tmp_path / f"crash-{at}")
        with monkeypatch.context() as patch:
            ending(inline, hosted, patch, at)
        asked = max(agent.seen.charges.get(MODEL, 0) for agent in hosted.agents)
        with suppress(OSError):
            inline.folder.close()
        inline.serve()
        # Whatever a node charged, the enclave charged before.
        assert spent(inline) >= asked, at
        status = hosted.client().status()
        assert status.phase in ("Released", "Lost", "Unendorsed"), at


def ending(inline: Inline, hosted: Hosted, patch: pytest.MonkeyPatch, at: int) -> int:
    """A round up to its confirmations; then the session closes its phases itself, and may die at a write."""
    inline.serve()
    hosted.until(hosted.client(), "Confirming")
    session, count = inline.started.session, trip(patch, at, Crash)
    session.spool = hosted.spool
    with suppress(Crash):
        for recipient, data in list(session.close()):
            assert recipient is None
            for agent in hosted.agents:
                assert session.receive(UntrustedFrame(agent.receive(data).control)) == ()
        list(session.close())
    return count[0]


def test_an_older_copy_of_the_state_spends_nothing_again(private, tmp_path):
    """Nodes endorse no log that lacks what they saw: without a quorum no round opens, so the old ledger is idle."""
    inline, hosted = private
    inline.serve()
    client = hosted.client()
    assert hosted.round(client).phase == "Released"
    inline.crash()
    shutil.copytree(inline.state, tmp_path / "older")
    inline.serve()
    assert hosted.round(hosted.client()).phase == "Released" and spent(inline) == 2
    inline.crash()
    shutil.rmtree(inline.state)
    shutil.copytree(tmp_path / "older", inline.state)
    inline.serve()
    assert spent(inline) == 1
    client = hosted.client()
    with pytest.raises((CrimsonError, RefusedQuestion)):
        hosted.prepare(client)
    with pytest.raises(RefusedQuestion, match="not-endorsed"):
        client.open(2, 1)
    assert len(inline.opened) == 2


def test_two_enclaves_from_one_state_get_one_release(private, tmp_path):
    """A node endorses one instance of an epoch: a copy of the folder finds nobody."""
    inline, hosted = private
    inline.serve()
    assert hosted.round(hosted.client()).phase == "Released"
    inline.crash()
    twin = Inline(tmp_path / "twin", inline.parties)
    twin.state.parent.mkdir(parents=True)
    shutil.copytree(inline.state, twin.state)
    inline.serve()
    client = hosted.client()
    hosted.prepare(client)
    # Another machine draws other bytes.
    twin.starts = 7
    other = Client(twin.serve())
    with pytest.raises((CrimsonError, RefusedQuestion)):
        hosted.prepare(other)
    with pytest.raises(RefusedQuestion, match="not-endorsed"):
        other.open(2, 1)
    assert hosted.round(client).phase == "Released"
    assert spent(inline) == 2 and len(twin.opened) == 0


@pytest.mark.parametrize("damage", ["removed", "truncated", "of another round"])
def test_a_ledger_that_was_touched_starts_nothing(private, damage):
    inline, hosted = private
    inline.serve()
    client = hosted.client()
    assert hosted.round(client).phase == "Released"
    blob = next(
        path for path in inline.state.iterdir() if path.name.startswith("state") or path.suffix == ".blob"
    )
    earlier = blob.read_bytes()
    assert hosted.round(client).phase == "Released"
    inline.crash()
    match damage:
        case "removed":
            blob.unlink()
        case "truncated":
            blob.write_bytes(blob.read_bytes()[:-1])
        case _:
            blob.write_bytes(earlier[:-1] + bytes([earlier[-1] ^ 1]))
    with pytest.raises(Damaged):
        inline.start()


def test_what_an_optimiser_remembers_survives_with_the_model(tmp_path):
    inline, hosted = federation(
        tmp_path, strategy="fedadam", server=ServerRules(1_000_000, 900_000, 990_000, 1000)
    )
    inline.serve()
    assert hosted.round(hosted.client()).phase == "Released"
    memory = inline.started.session.accounts.memory(MODEL)
    assert memory.first and memory.second and memory != Memory()
    inline.crash()
    inline.serve()
    assert inline.started.session.accounts.memory(MODEL) == memory
    assert repr(memory) == "Memory()"
