"""Small parts by themselves: buckets of tokens, bells, places of attempts, the log's copy, the CBOR of mail."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.test_hostile_enclave import STATUS
from tests.playground import make_parties

from crimson_gateway.api.mail import _head
from crimson_gateway.authentication import Callers
from crimson_gateway.authentication.callers import CANDIDATE, INVITED, NODE, caller_of
from crimson_gateway.bells import Bells
from crimson_gateway.driver.mirror import LogMirror
from crimson_gateway.driver.phases import KINDS, RUNNING, next_place
from crimson_gateway.limits import CALLERS, Concurrency, TokenBuckets, network_of
from crimson_gateway.problems import Problem
from crimson_gateway.store.database import Database
from crimson_protocol.log import MerkleLog, leaf_hash, verify_consistency
from crimson_protocol.policy.document import OperatorEntry
from crimson_protocol.wire import cbor, link, web
from crimson_protocol.wire.table import MESSAGES, Role


def test_a_bucket_refills_and_never_overflows():
    now = [0.0]
    buckets = TokenBuckets(2, 4, lambda: now[0])
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0]
    assert buckets.take("a") == pytest.approx(0.5) and buckets.take("b") == 0
    now[0] = 1000
    assert [bool(buckets.take("a")) for _ in range(5)] == [False] * 4 + [True]
    for number in range(CALLERS + 5):
        buckets.take(str(number))
    assert len(buckets._levels) == CALLERS


def test_concurrency_counts_down_when_a_request_fails():
    slots = Concurrency(1)
    with pytest.raises(RuntimeError), slots.one("a"):
        with pytest.raises(Problem), slots.one("a"):
            pass
        raise RuntimeError
    with slots.one("a"):
        pass
    assert not slots._running


def test_one_caller_has_a_whole_ipv6_network():
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff") != network_of("2001:db8:0:1::1")
    assert network_of("10.0.0.1") != network_of("10.0.0.2") and network_of("?") == "?"


def test_a_bell_wakes_and_time_ends_a_wait():
    async def play() -> None:
        bells, found = Bells(), []

        async def look() -> str | None:
            return found[0] if found else None

        waiting = asyncio.create_task(bells.until("topic", look, 60))
        await asyncio.sleep(0)
        bells.ring("other")
        found.append("news")
        bells.ring("topic")
        assert await waiting == "news"
        found.clear()
        assert await bells.until("topic", look, 0.01) is None
        assert not bells._waiting
        long = asyncio.create_task(bells.until("topic", look, 60))
        await asyncio.sleep(0)
        bells.close()
        assert await long is None

    asyncio.run(play())


ROUND = SimpleNamespace(model="model", number=0, attempt=0)


@pytest.mark.parametrize(
    ("status", "number", "attempt", "expected"),
    [
        ({}, 0, 0, (1, 1)),
        ({"places": (3, 2), "place": (3, 2), "phase": "Released"}, 0, 0, (4, 1)),
        ({"places": (3, 2), "place": (3, 2), "phase": "Aborted", "again": True}, 3, 2, (3, 3)),
        ({"places": (3, 2), "place": (3, 2), "phase": "Lost", "again": True}, 3, 2, (3, 3)),
        ({"places": (3, 2), "place": (3, 2), "phase": "Aborted", "again": False}, 3, 2, (4, 1)),
        # Opened just before a crash: the same place once more.
        ({"places": (4, 1), "place": (4, 1), "phase": "Advertising"}, 0, 0, (4, 1)),
        ({"places": (3, 3), "place": (3, 3), "phase": "Advertising"}, 3, 2, (3, 3)),
    ],
)
def test_the_next_attempt_is_the_one_that_the_enclave_expects(status, number, attempt, expected):
    def place(at: tuple[int, int] | None) -> link.Place | None:
        return link.Place("model", *at) if at else None

    known = status.get("places")
    shown = replace(
        STATUS,
        phase=status.get("phase", "Idle"),
        place=place(status.get("place")),
        places=(place(known),) if known else (),
        again=status.get("again", False),
    )
    round_ = SimpleNamespace(model="model", number=number, attempt=attempt)
    assert next_place(shown, round_) == link.Place("model", *expected)


def test_every_message_of_nodes_belongs_to_one_phase_or_is_an_endorsement():
    kinds = [kind for phase in RUNNING.values() for kind in KINDS[phase]]
    sent = [message.kind for message in MESSAGES if message.sender is Role.NODE and not message.inner]
    assert sorted(
        [*kinds, next(message.kind for message in MESSAGES if message.name == "Endorse")]
    ) == sorted(sent)


@given(st.integers(0, 2**63), st.binary(max_size=300))
def test_heads_of_mail_are_canonical(number, data):
    assert _head(0, number) == cbor.encode(number)
    assert _head(2, len(data)) + data == cbor.encode(data)
    assert _head(4, 1) + _head(0, number) == cbor.encode([number])


def test_nobody_elses_key_ever_stands_for_a_node():
    policy = make_parties(4).policy
    key = policy.roster[3].identity_key
    policy = replace(policy, operators=(OperatorEntry("operator", key, ()),))
    guests = [caller_of(key, "guest", INVITED), caller_of(key, "guest", CANDIDATE)]
    callers = Callers.of(policy, guests)
    found = callers.find(web.key_id(key))
    assert (found.node, found.name, found.role) == (3, policy.roster[3].node, NODE)
    assert callers.find("x") is None


class Leaves:
    """An enclave that has these leaves."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.leaves = leaves

    async def read_log(self, start: int) -> link.Leaves:
        return link.Leaves(start, tuple(self.leaves[start : start + 3]))


def test_the_copy_of_the_log_follows_an_enclave_that_forgot_its_end(tmp_path):
    async def play() -> None:
        database = Database(tmp_path / "gateway.db")
        await database.migrate()
        mirror, leaves = LogMirror(database), [b"%d" % number for number in range(10)]
        await mirror.sync(Leaves(leaves), 10)
        other = [*leaves[:7], b"boot", b"offer"]
        assert await mirror.compare(Leaves(other), 9) == 3
        fresh = LogMirror(database)
        await fresh.load()
        for copy in (mirror, fresh):
            tree = MerkleLog(map(leaf_hash, other))
            verify_consistency(4, tree.root(4), 9, tree.root(9), copy.proof(4, 9))
            with pytest.raises(Problem):
                copy.proof(1, 10)
        assert await mirror.compare(Leaves(other), 9) == 0
        await database.close()

    asyncio.run(play())
