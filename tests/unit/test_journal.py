"""The journal forgets nothing: a torn end is cut off, damage is refused, and a full disk sends no message."""

import errno
import hashlib
import os

import pytest

from crimson_node.journal import Journal
from crimson_node.seen import OfferSeen, PolicySeen, VerdictConfirmed, VerdictReleased
from crimson_protocol.errors import CallerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.messages.advertise import Checkpoint

A, B = hashlib.sha256(b"a").digest(), hashlib.sha256(b"b").digest()


def confirmed(round_: int, digest: bytes, v: bytes, accepted: tuple[int, ...]) -> VerdictConfirmed:
    return VerdictConfirmed("model", round_, v, digest, accepted, A, B, 4, False)


@pytest.fixture
def written(tmp_path):
    """Four entries and the places where they end."""
    journal, ends = Journal(tmp_path / "journal"), []
    for entry in (
        PolicySeen(3, A),
        OfferSeen("model", 1, 2, Checkpoint(5, A)),
        confirmed(1, A, B, (0, 1, 2)),
        OfferSeen("model", 2, 1, Checkpoint(9, B)),
    ):
        journal.append(entry, 7)
        ends.append((tmp_path / "journal").stat().st_size)
    journal.close()
    return tmp_path / "journal", ends


def test_what_was_written_is_read_again(written):
    path, _ = written
    seen = Journal(path).seen
    assert (seen.policy_serial, seen.places, seen.confirmed) == (3, {"model": (2, 1)}, {"model": 1})
    assert seen.checkpoint == Checkpoint(9, B)
    assert [time for time, _ in Journal(path).entries()] == [7] * 4


def test_a_torn_last_entry_is_cut_off_and_the_rest_stays(written):
    path, ends = written
    whole = path.read_bytes()
    for cut in range(ends[2] + 1, ends[3]):
        path.write_bytes(whole[:cut])
        journal = Journal(path)
        assert journal.seen.places == {"model": (1, 2)}
        assert journal.seen.confirmed == {"model": 1}
        journal.append(PolicySeen(4, B), 8)
        assert Journal(path).seen.policy_serial == 4
        journal.close()


def test_a_damaged_entry_is_refused_and_nothing_is_cut_off(written):
    path, ends = written
    whole = path.read_bytes()
    for place in range(ends[2]):
        # The low bytes of a length can make the rest look torn; no test can tell that from a kill.
        if any(place - start in (2, 3) for start in (0, *ends)):
            continue
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        with pytest.raises(CallerFault) as caught:
            Journal(path)
        assert caught.value.code is Refusal.LOG_WENT_BACK
        assert path.stat().st_size == len(whole)


def test_entries_left_out_or_exchanged_break_the_chain(written):
    path, ends = written
    whole = path.read_bytes()
    parts = [whole[start:end] for start, end in zip((0, *ends), ends, strict=False)]
    for order in ([0, 1, 3], [1, 0, 2, 3], [0, 1, 1, 2, 3], [1, 2, 3]):
        path.write_bytes(b"".join(parts[place] for place in order))
        with pytest.raises(CallerFault) as caught:
            Journal(path)
        assert caught.value.code is Refusal.LOG_WENT_BACK


@pytest.mark.parametrize("taken", [0, 1, 10])
def test_a_full_disk_is_an_error_and_leaves_the_journal_whole(written, monkeypatch, taken):
    path, ends = written
    journal = Journal(path)
    real = os.write
    monkeypatch.setattr("crimson_node.journal.os.write", lambda file, data: real(file, data[:taken]))
    with pytest.raises(OSError, match="journal"):
        journal.append(confirmed(2, A, A, (0, 1, 2)), 9)
    monkeypatch.undo()
    assert journal.seen.confirmed == {"model": 1}
    assert path.stat().st_size == ends[-1]
    journal.append(confirmed(2, A, A, (0, 1, 2)), 9)
    assert Journal(path).seen.confirmed == {"model": 2}


def test_an_entry_that_was_not_flushed_leaves_nothing_behind(written, monkeypatch):
    """The disk fails after the bytes went in: the next entry follows the one before, and the chain holds."""
    path, ends = written
    journal = Journal(path)

    def failing(_: int) -> None:
        raise OSError(errno.EIO, "the disk fails")

    monkeypatch.setattr("crimson_node.journal.os.fsync", failing)
    with pytest.raises(OSError, match="fails"):
        journal.append(confirmed(2, A, A, (0, 1, 2)), 9)
    monkeypatch.undo()
    assert path.stat().st_size == ends[-1] and journal.seen.confirmed == {"model": 1}
    journal.append(confirmed(2, A, A, (0, 1, 2)), 9)
    assert Journal(path).seen.confirmed == {"model": 2}


def test_a_confirmed_verdict_is_remembered_for_its_own_digest(tmp_path):
    journal = Journal(tmp_path / "journal")
    first, second = confirmed(1, A, A, (0, 1, 2)), confirmed(2, B, B, (0, 1))
    journal.append(first, 1)
    journal.append(second, 2)
    assert journal.seen.bound == {("model", A): first, ("model", B): second}
    journal.append(VerdictReleased("model", 2, B, A, B, Checkpoint(9, B)), 3)
    # A release frees nobody from its model's digest: another digest does.
    assert Journal(tmp_path / "journal").seen.bound == {("model", A): first, ("model", B): second}
