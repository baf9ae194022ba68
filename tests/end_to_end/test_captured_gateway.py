"""A captured gateway: everything it ever wrote to its spool and database shows no vector, key or metric of a site."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from crimson_node.learning.task import Task
from crimson_protocol.transcript import model_digest
from crimson_simulation.dataset import read_pooled
from crimson_simulation.demo_data import SITES, write_whas500
from crimson_simulation.options import TrainOptions
from crimson_simulation.parties import Parties, make_parties
from crimson_simulation.policy_writer import MODEL, MOMENTS
from crimson_simulation.processes.engine import ProcessEngine
from crimson_simulation.public_facts import public_facts


@contextmanager
def capturing(spool: Path, into: Path) -> Iterator[None]:
    """Keep a second name for every file that appears in the spool, whatever becomes of the first."""
    into.mkdir()
    stopped = threading.Event()

    def watch() -> None:
        while not stopped.wait(0.003):
            for folder, _, names in os.walk(spool):
                for name in names:
                    path = Path(folder) / name
                    # Files go while they are looked at, and most have their second name already.
                    with suppress(OSError):
                        os.link(path, into / f"{path.stat().st_ino}")

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


class Captured:
    """A moments round and a training round, all that the gateway kept of them, and what must not be in it."""

    def __init__(self, out: Path) -> None:
        data = out / "whas500.csv"
        write_whas500(data)
        options = TrainOptions(
            data=data, time_column="time", event_column="event", out=out, site_column="site"
        )
        pooled = read_pooled(data, site_column="site", time_column="time", event_column="event")
        self.parties: Parties = make_parties(pooled, options, public_facts(pooled))
        with ProcessEngine(self.parties, out / "run") as engine:
            gateway = engine.homes.gateway
            with capturing(gateway / "spool", out / "captured"):
                self.moments = engine.run_round(MOMENTS)
                self.base = engine.run_round(MODEL)
            self.encoded = [np.load(engine.homes.encoded(index)) for index in range(len(SITES))]
        files = [
            path for folder in (gateway, out / "captured") for path in folder.rglob("*") if path.is_file()
        ]
        self.kept = b"".join(path.read_bytes() for path in files)
        self.files = len(files)


@pytest.fixture(scope="module")
def captured(tmp_path_factory) -> Captured:
    return Captured(tmp_path_factory.mktemp("captured"))


def test_the_capture_holds_what_the_relay_carried(captured):
    """The search finds what is there: every masked vector's round, and the policy that all parties hold."""
    assert captured.files > 2 * len(SITES)
    assert captured.parties.bundle[100:160] in captured.kept
    assert len(captured.kept) > 500_000


def test_no_encoded_vector_shows(captured):
    found = searched = 0
    for vector in captured.encoded:
        for at in range(len(vector) - 3):
            run = vector[at : at + 4]
            # Zeros are in any file; four distinct words in a row are not.
            if len(set(run.tolist())) == 4 and run.min() > 0:
                searched += 1
                found += run.tobytes() in captured.kept
    assert searched > 40 and not found


def test_no_update_and_no_metric_shows_in_the_clear(captured):
    """Parameters as floats of both widths, and each site's exact counters, as the sites computed them."""
    task = Task.of(captured.parties.policy, MODEL)
    initial = captured.parties.initials[MODEL]
    planted = set()
    for rows in captured.parties.rows:
        update = task.update(initial, captured.moments, rows, os.urandom)
        assert update.model_digest == model_digest(initial)
        planted |= {update.parameters[at : at + 2].tobytes() for at in range(0, len(update.parameters), 2)}
        planted |= {float(value).hex().encode() for value in update.parameters}
        # The training loss in millionths of 2^20: a number that no other field of a round holds.
        planted.add(int(update.counters[1]).to_bytes(8, "big"))
        planted.add(int(update.counters[1]).to_bytes(8, "little"))
        planted.add(str(update.counters[1]).encode())
    assert len(planted) > 50
    assert not [value for value in planted if value in captured.kept]


def test_no_private_key_and_no_released_model_shows(captured):
    for keys in captured.parties.keys:
        for key in (keys.identity, keys.encryption):
            assert key.reveal()[:32] not in captured.kept
            assert key.reveal()[-32:] not in captured.kept
    assert captured.base[16:64] not in captured.kept
    assert captured.moments[16:64] not in captured.kept
