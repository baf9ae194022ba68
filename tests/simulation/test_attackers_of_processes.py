"""Attackers that are processes of their own: what they encode, and the file that they train on."""

import os
from pathlib import Path

import numpy as np
import pytest
from tests.playground import default_numbers

from crimson_node.data.declaration import DatasetDeclaration
from crimson_node.data.table import load_site
from crimson_node.encoding import encode_update
from crimson_node.member import Update
from crimson_protocol.layout import Layout
from crimson_simulation.attacks.carried_out import CarriedOut
from crimson_simulation.attacks.encoding import encode_unclipped
from crimson_simulation.attacks.poisoned_files import poisoned, rewritten
from crimson_simulation.attacks.registry import ALONE, DATA_ATTACKS, NAMES, Attack, alone, attack_of
from crimson_simulation.dataset import read_pooled
from crimson_simulation.options import BadOption, TrainOptions
from crimson_simulation.parties import make_parties
from crimson_simulation.processes.attacker import PoisonedEncoder
from crimson_simulation.public_facts import public_facts

NODES, PARAMETERS, CLIP = 5, 12, 0.5
ROLES = {"site_column": "site", "time_column": "time", "event_column": "event"}


def fill(view: memoryview) -> None:
    view[:] = np.random.default_rng(1).bytes(len(view))


def layout(**numbers: int) -> Layout:
    return Layout(default_numbers(NODES, clip_micro=round(CLIP * 1e6), **numbers))


def updates(length: float) -> dict[int, Update]:
    rows = np.random.default_rng(4).normal(0, 1, (NODES, PARAMETERS))
    rows *= length / np.linalg.norm(rows, axis=1, keepdims=True)
    return {node: Update("model", bytes(32), row.astype(np.float32), 9) for node, row in enumerate(rows)}


def options(data: Path, engine: str = "processes", **changes: str) -> TrainOptions:
    return TrainOptions(data=data, out=data.parent / "out", engine=engine, **ROLES, **changes)


def table(path: Path, columns: tuple[str, ...] = ("age", "ward")) -> Path:
    """A pooled CSV of four sites, of a number and a text column, or of one of them."""
    lines = [",".join(("site", "time", "event", *columns))]
    for row in range(60):
        cells = {"age": f"{40 + row * 0.7:.2f}", "ward": "xyz"[row % 3]}
        given = (cells[column] for column in columns)
        lines.append(",".join(("ABCD"[row % 4], str(1 + row * 7 % 23), str(row % 3 % 2), *given)))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("length", [0.1, 5.0])
def test_an_attacker_alone_sends_what_it_sends_beside_all_others(name: str, length: float) -> None:
    trained, seed = updates(length), 3
    together = Attack(name, 0.2).on_updates(trained, (2,), CLIP, seed, round_=7)[2]
    by_itself = alone(name, trained[2], CLIP, np.random.default_rng([seed, 7]))
    assert np.array_equal(together.parameters, by_itself.parameters)
    assert not np.array_equal(by_itself.parameters, trained[2].parameters)


def test_its_encoder_poisons_without_clipping_and_leaves_counters_alone() -> None:
    trained, there = updates(0.4)[0], layout(parameters=PARAMETERS, counters=0)
    encode = PoisonedEncoder("sign-flip", np.random.default_rng(0))
    reversed_ = alone("sign-flip", trained, CLIP, np.random.default_rng(0))
    assert np.array_equal(encode(trained, there, fill), encode_unclipped(reversed_, there, fill))
    assert not np.array_equal(encode(trained, there, fill), encode_update(reversed_, there, fill))
    sums = layout(parameters=0, counters=3)
    counted = Update("model.moments", bytes(32), np.zeros(0, np.float32), 0, (4, 5, 6))
    assert np.array_equal(encode(counted, sums, fill), encode_update(counted, sums, fill))


@pytest.mark.parametrize("name", NAMES)
def test_processes_play_what_a_node_alone_can(name: str, tmp_path: Path) -> None:
    data, asked = tmp_path / "units.csv", f"{name}:0.2"
    assert attack_of(options(data, "inline", attack=asked)) == Attack(name, 0.2)
    if name in (*ALONE, *DATA_ATTACKS):
        assert attack_of(options(data, attack=asked)) == Attack(name, 0.2)
        return
    with pytest.raises(BadOption) as caught:
        attack_of(options(data, attack=asked))
    assert "--engine inline" in caught.value.hint


@pytest.mark.parametrize("name", DATA_ATTACKS)
def test_who_poisons_rows_trains_on_a_file_of_just_those_rows(name: str, tmp_path: Path) -> None:
    data = table(tmp_path / "units.csv")
    pooled, asked = read_pooled(data, **ROLES), options(data, "inline")
    parties = make_parties(pooled, asked, public_facts(pooled))
    carried = CarriedOut(Attack(name, 0.5), 4, seed=0, entropy=os.urandom)
    changed = poisoned(parties, carried, tmp_path / "poisoned")
    assert len(carried.attackers) == 2
    for index, rows in enumerate(carried.rows(parties.rows)):
        assert (changed.files[index] != parties.files[index]) is (index in carried.attackers)
        found = load_site(changed.files[index], pooled.declaration, "")
        for part in ("features", "time", "event", "train"):
            assert np.array_equal(getattr(found, part), getattr(rows, part))
    assert not any(carried.poisons_updates(index) for index in range(4))


def test_a_trigger_among_levels_is_refused(tmp_path: Path) -> None:
    """The file of a site is text: no level stands for a number that no row has."""
    data = table(tmp_path / "units.csv", columns=("ward",))
    pooled = read_pooled(data, **ROLES)
    parties = make_parties(pooled, options(data, "inline"), public_facts(pooled))
    rows = CarriedOut(Attack("backdoor", 0.3), 4, 0, os.urandom)
    (index,) = rows.attackers
    declaration: DatasetDeclaration = pooled.declaration
    with pytest.raises(BadOption) as caught:
        rewritten(parties.files[index], declaration, parties.rows[index], rows.rows(parties.rows)[index])
    assert "--features" in caught.value.hint
