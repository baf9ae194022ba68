"""Whoever vanishes, whenever: a round ends exact or stopped, never wrong."""

import os
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.playground import Play, default_numbers, lanes

from crimson_enclave.state import Aborted, Released
from crimson_protocol.cohort import corrupt_count

EXAMPLES = int(os.environ.get("CRIMSON_EXAMPLES", "200"))
STAGES = ("offer", "roster", "shared", "frozen", "request", "release")
# Where a node may fall silent: it never hears, or it hears and its answer is lost, at each stage.
SILENT = [None, *((stage, how) for stage in STAGES[:-1] for how in ("deaf", "mute"))]
ends: Counter[str] = Counter()


@st.composite
def mixes(draw: st.DrawFn) -> tuple[int, dict, list]:
    """A cohort, its numbers, and for each node where it falls silent; most nodes stay."""
    nodes = draw(st.integers(3, 7))
    corrupt = draw(st.sampled_from([(0, 1), (1, 5), (1, 3)])) if nodes >= 5 else (0, 1)
    size = draw(st.sampled_from([None, None, 1, 2, 3]))
    changes = {
        "corrupt": corrupt,
        "min_cohort": min(nodes, corrupt_count(nodes, corrupt) + 3),
        "bucket_size": size,
        "parameters": draw(st.integers(0, 9)),
        "counters": draw(st.integers(0, 2)),
        "slices": draw(st.integers(1, 3)),
        **draw(
            st.sampled_from(
                [{"ring_bits": 32}, {"ring_bits": 20, "value_bits": 12}, {"ring_bits": 17, "value_bits": 9}]
            )
        ),
    }
    silences = draw(
        st.lists(st.one_of(st.none(), st.none(), st.sampled_from(SILENT)), min_size=nodes, max_size=nodes)
    )
    return nodes, changes, silences


def play_through(federation: Play, silences: list) -> None:
    """Every stage in order; a silent node stays silent from its stage on."""
    federation.prepare()
    alive, said = set(range(federation.nodes)), federation.open()
    for place, stage in enumerate(STAGES):
        leaving = {
            node: how
            for node, silence in enumerate(silences)
            if silence and (how := silence[1]) and silence[0] == stage
        }
        alive -= {node for node, how in leaving.items() if how == "deaf"}
        mute = alive & set(leaving)
        federation.deliver(said, sorted(alive - mute))
        federation.deliver(said, sorted(mute), upload=False)
        alive -= mute
        if isinstance(federation.session.state, Released | Aborted):
            return
        if place < len(STAGES) - 1:
            said = federation.close()


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mix=mixes())
def test_any_mix_of_dropouts_ends_exact_or_stopped(mix):
    nodes, changes, silences = mix
    with TemporaryDirectory() as home:
        federation = Play(Path(home), nodes, numbers=default_numbers(nodes, **changes))
        play_through(federation, silences)
        state = federation.session.state
        ends[state.phase.value] += 1
        if isinstance(state, Released):
            _, accepted = federation.opened[-1]
            gone = {
                node
                for node, silence in enumerate(silences)
                if silence and silence[0] in ("offer", "roster", "shared")
            }
            assert not gone & set(accepted)
            assert np.array_equal(lanes(federation), federation.plain_sum(accepted))
            assert len(accepted) >= federation.numbers.min_cohort
        else:
            assert isinstance(state, Aborted)
            assert not federation.opened and not federation.session.receipts
        assert not [fault for fault in federation.session.faults if fault.culprit]


def test_the_mixes_above_end_both_ways():
    """Guards the property against passing because nothing ever got through, or nothing ever failed."""
    assert ends["Released"] >= EXAMPLES / 20
    assert ends["Aborted"] >= EXAMPLES / 20
