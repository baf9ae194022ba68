"""What operators may do is decided by the signed access rules, role by role, and each decision is reported."""

import json
import os
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from tests.gateway.federation import Federation, valid_now
from tests.gateway.problem import problem
from tests.playground import MODEL, make_parties


@pytest.fixture
def federation(tmp_path):
    one = Federation(tmp_path, parties=valid_now(make_parties(5, seed=os.urandom(4).hex())))
    one.start()
    yield one
    one.close()


def with_roles(federation: Federation, *roles: str) -> None:
    """A policy in which the operator has these roles and no others, in force."""
    federation.publish(operators=(replace(federation.operator_entry, roles=roles),))
    federation.kill()
    federation.start()


def order(federation: Federation):
    body, headers = json.dumps({"model": MODEL}).encode(), {"Idempotency-Key": os.urandom(8).hex()}
    return federation.operator().ask("POST", "/v1/rounds", body, headers=headers)


def reports(federation: Federation, kind: str) -> list[tuple[str, str | None]]:
    """Subject and code of what the gateway noted."""
    with closing(sqlite3.connect(federation.home / "gateway.db")) as database:
        rows = database.execute("SELECT subject, code FROM reports WHERE kind = ? ORDER BY id", (kind,))
        return rows.fetchall()


def test_an_operator_without_the_role_starts_no_round_and_is_reported_once(federation):
    with_roles(federation, "backend")
    assert [problem(order(federation)) for _ in range(3)] == ["access-denied"] * 3
    assert reports(federation, "round-refused") == [(MODEL, "no policy permits it")]
    assert reports(federation, "round-ordered") == []


def test_an_ordered_round_is_reported_with_the_rule_that_permits_it(federation):
    assert order(federation).status_code == 201
    assert reports(federation, "round-ordered") == [(f"{MODEL}/1", "rounds-by-their-operators")]


def test_an_operator_whom_the_policy_lists_no_more_is_nobody(federation):
    federation.publish(operators=())
    federation.kill()
    federation.start()
    assert order(federation).status_code == 401
