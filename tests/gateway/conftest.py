"""Federations around a real gateway process."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.gateway.federation import Federation, submitting_round, valid_now
from tests.gateway.operators import STAFF, ask_two_of_three
from tests.playground import default_numbers, make_parties


@pytest.fixture
def federate(tmp_path: Path) -> Iterator[Callable[..., Federation]]:
    """Makes a running federation; everything ends with the test."""
    made: list[Federation] = []

    def make(nodes: int = 5, **options: object) -> Federation:
        federation = Federation(tmp_path / str(len(made)), nodes, **options)
        made.append(federation)
        federation.enclave.start()
        federation.start()
        return federation

    yield make
    for federation in made:
        federation.close()


NODES = 5


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """A gateway without an enclave: nothing moves but what a test sends."""
    parties = valid_now(make_parties(NODES, default_numbers(NODES, parameters=5000), seed="refusals"))
    federation = Federation(
        tmp_path_factory.mktemp("calm"),
        parties=parties,
        stall_seconds=1,
        minimum_rate=1 << 16,
        header_seconds=1,
    )
    federation.start()
    yield federation
    federation.close()


@pytest.fixture(scope="module")
def enrolling(tmp_path_factory):
    """A gateway without an enclave whose policy asks for two approvals."""
    parties = valid_now(make_parties(6, seed=os.urandom(4).hex()))
    federation = Federation(
        tmp_path_factory.mktemp("enrolling"), parties=parties, key_rate=1000, failure_rate=1000
    )
    ask_two_of_three(federation)
    federation.start()
    yield federation
    federation.close()


@pytest.fixture
def staff(enrolling):
    """Clients of the three operators."""
    return [enrolling.operator(), *map(enrolling.signing, STAFF)]


@pytest.fixture(scope="module")
def round_id(calm):
    return submitting_round(calm)


@pytest.fixture
def node(calm):
    return calm.client(0)
