"""The machine dies, or its disk is full, at every write of an adoption: one whole policy is in force afterwards."""

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest
from tests.enclave.adopting import SECOND, adopt, with_second_model
from tests.enclave.conftest import Inline
from tests.enclave.hosting import Hosted, RefusedQuestion
from tests.enclave.test_sealed_state import Crash, Direct, places, trip
from tests.playground import MODEL

from crimson_enclave.host.folder import Uncertain
from crimson_protocol.events import MAX_EVENT, Event
from crimson_protocol.transcript import model_digest

ENDED = Crash, Uncertain


@pytest.fixture
def released(inline: Inline, hosted: Hosted) -> Inline:
    """An enclave that released a round and was stopped."""
    inline.serve()
    hosted.round(hosted.client())
    inline.crash()
    return inline


def running(released: Inline, home: Path) -> tuple[Inline, Direct]:
    """A copy of it with an attempt open; that its nodes vouched is taken for granted."""
    copied = released.copy(home)
    copied.start().session.endorsed.update(range(6))
    direct = Direct(copied)
    direct.open(2)
    return copied, direct


def writes(released: Inline, home: Path, monkeypatch) -> int:
    """Writes of an adoption that nothing disturbs."""
    newer, artifact = with_second_model(released.parties)
    enclave, direct = running(released, home)
    with monkeypatch.context() as patch:
        count = trip(patch, 0, Crash)
        adopt(direct, newer, artifact)
    enclave.crash()
    return count[0]


def test_a_crash_at_every_write_of_an_adoption_leaves_one_whole_policy(
    released: Inline, tmp_path, monkeypatch
):
    newer, artifact = with_second_model(released.parties)
    before, after = released.parties.policy.digest(), newer.policy.digest()
    seen = []
    total = writes(released, tmp_path / "dry", monkeypatch)
    assert total > 10
    for at in places(total):
        enclave, direct = running(released, tmp_path / f"crash-{at}")
        log = list(direct.gate._session.log.leaves)
        with monkeypatch.context() as patch, suppress(*ENDED):
            trip(patch, at, Crash)
            adopt(direct, newer, artifact)
            raise AssertionError("no crash")
        enclave.crash()
        session = enclave.start().session
        found = session.policy.digest()
        seen.append(found)
        trust = enclave.started.keeper.state.trust
        assert (trust.seen.policy, trust.serial) == (found, session.policy.serial)
        assert session.lost.again and session.places[MODEL] == (2, 1)
        events = [Event.from_bytes(leaf, MAX_EVENT) for leaf in session.log.leaves]
        assert session.log.leaves[: len(log)] == log
        assert (
            ("policy", after) == (events[-2].kind, events[-2].digest)
            or found == before
            or events[-1].kind == "boot"
        )
        assert [event.digest for event in events if event.kind == "policy"][-1] == found
        assert (SECOND in session.artifacts) is (found == after)
        status = adopt(Direct(enclave), newer, artifact)
        assert status.policy == after
        enclave.crash()
        final = enclave.start().session
        assert model_digest(final.artifacts[SECOND]) == model_digest(artifact)
        enclave.crash()
    # Once the newer one was there, it stayed: the change is one write.
    assert {*seen} == {before, after} and seen == sorted(seen, key=[before, after].index)


def test_a_full_disk_at_every_write_of_an_adoption_leaves_the_attempt_as_it_was(
    released: Inline, tmp_path, monkeypatch
):
    newer, artifact = with_second_model(released.parties)
    full, refused = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 0
    for at in range(1, 100):
        enclave, direct = running(released, tmp_path / f"full-{at}")
        before, log = direct.status(), direct.leaves()
        with monkeypatch.context() as patch:
            trip(patch, at, lambda: full, folders=False)
            try:
                adopt(direct, newer, artifact)
                break
            except RefusedQuestion as refusal:
                assert str(refusal) == "state-not-kept"
        refused += 1
        assert (direct.status(), direct.leaves()) == (before, log)
        assert adopt(direct, newer, artifact).policy == newer.policy.digest()
        enclave.crash()
    assert refused > 8
