"""What operators see and do, and what anybody may ask."""

import json
import secrets

import httpx
from tests.gateway.problem import problem

NODES = 5


def test_an_idempotency_key_gives_one_round_however_often_it_comes(calm):
    operator, key = calm.operator(), {"Idempotency-Key": secrets.token_hex(8)}
    body = json.dumps({"model": "model"}).encode()
    first = operator.ask("POST", "/v1/rounds", body, headers=key)
    again = operator.ask("POST", "/v1/rounds", body, headers=key)
    assert first.status_code == again.status_code == 201 and first.json() == again.json()
    other = operator.ask("POST", "/v1/rounds", body + b" ", headers=key)
    assert problem(other) == "idempotency-key-reused"
    assert problem(operator.ask("POST", "/v1/rounds", body)) == "idempotency-key"
    wrong = operator.ask("POST", "/v1/rounds", b'{"model": "none"}', headers={"Idempotency-Key": "other"})
    assert problem(wrong) == "unknown-model"
    for bad in (b"", b"[", b'{"model": 5}', b'{"model": "model", "extra": 1}', b'{"model": "\xff"}'):
        answer = operator.ask("POST", "/v1/rounds", bad, headers={"Idempotency-Key": secrets.token_hex(8)})
        assert problem(answer) == "bad-parameter"


def test_rounds_are_listed_by_an_opaque_cursor(calm):
    operator = calm.operator()
    for _ in range(3):
        calm.order_round()
    seen, cursor = [], None
    while True:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = operator.ask("GET", "/v1/rounds", query=query).json()
        seen += [view["id"] for view in page["rounds"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == sorted(seen, reverse=True) and len(seen) >= 4
    assert problem(operator.ask("GET", "/v1/rounds", query={"cursor": "!!"})) == "bad-parameter"


def test_nodes_are_listed_with_when_they_last_spoke(calm):
    calm.client(3).ask("GET", "/v1/policy")
    nodes = {view["node"]: view for view in calm.operator().ask("GET", "/v1/nodes").json()["nodes"]}
    assert len(nodes) == NODES and nodes["site-3"]["last_seen"] and not nodes["site-3"]["endorsed"]


def test_without_an_enclave_the_gateway_lives_and_is_not_ready(calm):
    http = calm.client(0).http
    assert http.get("/livez").json() == {"live": True}
    ready = http.get("/readyz")
    assert ready.status_code == 503
    assert ready.json() == {"ready": False, "checks": {"database": True, "spool": True, "enclave": False}}
    assert http.get("/version").json()["service"] == "crimson-gateway"
    document = http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1") and "/v1/policy" in document["paths"]
    counts = httpx.get(calm.metrics + "/metrics", trust_env=False).text
    assert "crimson_gateway_requests_total" in counts and "site-" not in counts
