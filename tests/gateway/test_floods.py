"""Many bad requests at once: honest nodes are served, and memory stays flat."""

import secrets
import threading

import httpx
from tests.gateway.federation import Together
from tests.gateway.raw_tls import RawTls
from tests.gateway.signed_client import SignedClient

from crimson_protocol.secret.key_files import to_pem
from crimson_protocol.secret.keys import IdentityKey

WRONG, MOST_GROWTH = 1000, 64 << 20


def test_a_thousand_wrong_signatures_do_not_stop_an_honest_round(federate):
    federation = federate(5)
    hospitals = federation.hospitals()
    key = IdentityKey.fresh(secrets.token_bytes)
    attacker = SignedClient(federation.url, federation.authority, to_pem(key), key.public)
    # Half of them in an honest node's name, from the very address of the honest nodes.
    names = [attacker.key_id, federation.client(0).key_id]
    attacker.ask("GET", "/v1/policy")
    before, codes = federation.resident, []
    round_ = federation.order_round()

    def attack() -> None:
        for number in range(WRONG):
            attacker.key_id = names[number % 2]
            codes.append(attacker.ask("GET", "/v1/policy").json()["code"])

    flood = threading.Thread(target=attack)
    flood.start()
    assert set(Together(hospitals).join().values()) == {"released"}
    flood.join(60)
    assert len(codes) == WRONG and set(codes) == {"bad-signature", "rate-limited"}
    assert federation.resident - before < MOST_GROWTH
    assert federation.round(round_["id"])["faults"] == []
    attacker.close()


def test_many_idle_and_half_open_connections_do_not_stop_an_honest_round(federate):
    federation = federate(5, header_seconds=5)
    hospitals = federation.hospitals()
    held = [RawTls(federation.port, federation.authority) for _ in range(60)]
    for raw in held[::2]:
        raw.send(b"PUT /v1/rounds/1/ready HTTP/1.1\r\nhost: x\r\n")
    federation.order_round()
    assert set(Together(hospitals).join().values()) == {"released"}
    for raw in held:
        raw.socket.close()


def test_one_key_may_not_ask_for_more_than_its_share(federate):
    federation = federate(4, key_rate=5)
    node = federation.client(0)
    answers = [node.ask("GET", "/v1/policy") for _ in range(60)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert (
        refused
        and refused[0].json()["code"] == "rate-limited"
        and int(refused[0].headers["retry-after"]) >= 1
    )
    assert federation.client(1).ask("GET", "/v1/policy").status_code == 200


def test_one_key_may_not_hold_more_than_its_share_of_long_polls(federate):
    federation = federate(4, key_concurrency=2)
    codes: list[int] = []

    def poll() -> None:
        client = federation.client(0)
        codes.append(client.ask("GET", "/v1/calls", query={"wait": 3}).status_code)

    threads = [threading.Thread(target=poll) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(codes) == [204, 204, 429, 429, 429]
    assert federation.client(1).ask("GET", "/v1/policy").status_code == 200


def test_one_address_may_not_ask_for_more_than_its_share(federate):
    federation = federate(4, address_rate=5)
    http = federation.client(0).http
    answers: list[httpx.Response] = [http.get("/livez") for _ in range(60)]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert answers[-1].json()["code"] == "rate-limited"
