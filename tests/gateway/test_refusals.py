"""What the gate refuses, each named after the attack. The gateway is a real process; its enclave is away."""

import hashlib
import secrets
from contextlib import suppress

import httpx
import pytest
from tests.gateway.federation import Federation
from tests.gateway.problem import problem
from tests.gateway.raw_tls import RawTls, head_of
from tests.gateway.signed_client import SignedClient

from crimson_protocol.layout import Layout
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.secret.key_files import to_pem
from crimson_protocol.secret.keys import IdentityKey
from crimson_protocol.wire import web
from crimson_protocol.wire.messages.advertise import Advertise
from crimson_protocol.wire.messages.endorse import Endorse
from crimson_protocol.wire.messages.submit import Submit

NODES = 5


def vector(calm: Federation) -> bytes:
    return secrets.token_bytes(Layout(calm.parties.policy.models[0].numbers).packed)


def payload_path(round_id: int, body: bytes) -> str:
    return f"/v1/rounds/{round_id}/payloads/{hashlib.sha256(body).hexdigest()}"


def test_an_unsigned_request_is_refused(node):
    assert problem(node.http.get("/v1/policy", headers={"Content-Length": "0"})) == "unsigned"


def test_a_signed_request_is_served(calm, node):
    answer = node.ask("GET", "/v1/policy")
    assert (answer.status_code, answer.content) == (200, calm.parties.signed)


def test_a_replayed_request_is_refused(node):
    request = node.request("GET", "/v1/policy")
    assert node.send(request).status_code == 200
    assert problem(node.send(request)) == "nonce-used"


def test_a_request_replayed_after_a_restart_is_refused(calm):
    node = calm.client(1)
    request = node.request("GET", "/v1/policy")
    assert node.send(request).status_code == 200
    calm.kill()
    calm.start()
    assert problem(calm.client(1).http.send(request)) == "nonce-used"


@pytest.mark.parametrize("change", ["path", "query", "method", "host", "digest"])
def test_an_altered_request_is_refused(calm, node, change):
    request = node.request("GET", "/v1/consistency", query={"first": 0, "second": 0})
    url, headers, method = request.url, dict(request.headers), request.method
    if change == "path":
        url = url.copy_with(path="/v1/events")
    elif change == "query":
        url = url.copy_with(query=b"first=0&second=1")
    elif change == "method":
        method = "HEAD"
    elif change == "host":
        headers["host"] = "elsewhere.example"
    else:
        headers["content-digest"] = "sha-256=:" + "A" * 43 + "=:"
    altered = httpx.Request(method, url, headers=headers, content=b"")
    code = node.http.send(altered).status_code
    assert code == (405 if change == "method" else 401)


@pytest.mark.parametrize("mark", ["?#", "#", "/", "@elsewhere", "/v1/policy?x=", " ", "?"])
def test_a_signature_is_not_moved_to_another_path_by_way_of_the_host(calm, node, mark):
    """A proxy that opens TLS puts the signed path into the Host field and asks for another one."""
    request = node.request("GET", "/v1/policy")
    host = f"{request.headers['host']}{'/v1/policy' if mark.startswith(('?', '#')) else ''}{mark}"
    head = head_of(request, host=host).replace(b"GET /v1/policy ", b"GET /v1/events?start=0 ", 1)
    with RawTls(calm.port, calm.authority) as raw:
        raw.send(head)
        status = raw.answer().split(b" ")[1]
    assert status in (b"400", b"401")


def test_a_body_altered_on_the_way_is_refused_and_not_kept(calm, round_id, node):
    body = vector(calm)
    request = node.request("PUT", payload_path(round_id, body), body)
    altered = bytes([body[0] ^ 1]) + body[1:]
    sent = httpx.Request(request.method, request.url, headers=request.headers, content=altered)
    assert problem(node.http.send(sent)) == "digest-differs"
    name = hashlib.sha256(altered).hexdigest()
    assert not list((calm.home / "spool").rglob(name)) and not list((calm.home / "spool/incoming").iterdir())


def test_a_foreign_key_is_refused_as_an_unknown_one(calm):
    key = IdentityKey.fresh(secrets.token_bytes)
    stranger = SignedClient(calm.url, calm.authority, to_pem(key), key.public)
    known = calm.client(0)
    known.key_id, stranger_id = stranger.key_id, stranger.key_id
    unknown = stranger.ask("GET", "/v1/policy")
    assert problem(unknown) == "bad-signature"
    # A known node's key id over a stranger's signature is answered in the same words.
    stranger.key_id = calm.client(0).key_id
    assert stranger.ask("GET", "/v1/policy").json() == unknown.json()
    stranger.key_id = stranger_id
    stranger.close()


@pytest.mark.parametrize("skew", [-600, 600])
def test_a_clock_ten_minutes_off_is_told_so_with_the_difference(calm, skew):
    answer = calm.client(0, skew=skew).ask("GET", "/v1/policy")
    assert problem(answer) == "clock-skew"
    assert any(f"{seconds} seconds" in answer.json()["detail"] for seconds in range(597, 604))


@pytest.mark.parametrize(
    "missing", ["@method", "@authority", "@path", "@query", "content-digest", "content-length"]
)
def test_a_signature_that_leaves_something_out_is_refused(node, missing):
    covered = tuple(name for name in web.COVERED if name != missing)
    assert problem(node.ask("GET", "/v1/policy", covered=covered)) == "bad-signature"


def test_another_label_or_a_short_nonce_is_refused(node):
    assert problem(node.ask("GET", "/v1/policy", label="other")) == "unsigned"
    assert problem(node.ask("GET", "/v1/policy", nonce="short")) == "unsigned"


def test_a_node_may_not_do_what_operators_do(node):
    assert problem(node.ask("GET", "/v1/nodes")) == "not-permitted"
    assert problem(node.ask("POST", "/v1/rounds", b"{}", headers={"Idempotency-Key": "k"})) == "not-permitted"


def test_an_operator_may_not_speak_for_a_node(calm, round_id):
    operator = calm.operator()
    assert problem(operator.ask("PUT", f"/v1/rounds/{round_id}/ready")) == "not-permitted"


@pytest.mark.parametrize(("difference", "code"), [(1, "body-too-large"), (-1, "body-too-short")])
def test_a_vector_one_byte_off_is_refused_before_it_is_read(calm, round_id, node, difference, code):
    body = vector(calm)
    body = body + b"x" if difference > 0 else body[:-1]
    assert problem(node.ask("PUT", payload_path(round_id, body), body)) == code


def test_a_gigabyte_is_refused_by_its_declared_length(calm, round_id, node):
    request = node.request("PUT", payload_path(round_id, b""), b"")
    with RawTls(calm.port, calm.authority) as raw:
        raw.send(head_of(request, content_length=str(1 << 30)))
        answer = raw.answer()
    assert answer.startswith(b"HTTP/1.1 413") and b"body-too-large" in answer


def test_a_body_in_chunks_without_a_length_is_refused(calm, round_id, node):
    request = node.request("PUT", payload_path(round_id, b""), b"")
    with RawTls(calm.port, calm.authority) as raw:
        raw.send(head_of(request, content_length=None, transfer_encoding="chunked") + b"1\r\nx\r\n0\r\n\r\n")
        answer = raw.answer()
    assert answer.startswith(b"HTTP/1.1 411") and b"length-required" in answer


def test_a_body_with_two_lengths_is_refused(calm, round_id, node):
    request = node.request("PUT", payload_path(round_id, b""), b"")
    head = head_of(request).replace(b"\r\n\r\n", b"\r\ncontent-length: 5\r\n\r\n")
    with RawTls(calm.port, calm.authority) as raw:
        raw.send(head)
        assert raw.answer().startswith(b"HTTP/1.1 4")


def test_a_body_that_stalls_is_ended(calm, round_id, node):
    body = vector(calm)
    request = node.request("PUT", payload_path(round_id, body), body)
    with RawTls(calm.port, calm.authority) as raw:
        raw.send(head_of(request) + body[:100])
        answer = raw.answer()
    assert answer.startswith(b"HTTP/1.1 408") and b"body-too-slow" in answer
    assert not list((calm.home / "spool/incoming").iterdir())


def test_a_trickled_body_is_ended_though_it_never_stalls(calm, round_id, node):
    body = vector(calm)
    request = node.request("PUT", payload_path(round_id, body), body)
    with RawTls(calm.port, calm.authority) as raw:
        raw.send(head_of(request))
        raw.trickle(body[:200], 0.02)
        answer = raw.answer()
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_trickled_head_is_hung_up_on(calm):
    head = b"GET /livez HTTP/1.1\r\nhost: x\r\n" + b"x-filler: yes\r\n" * 100
    with RawTls(calm.port, calm.authority) as raw:
        assert raw.trickle(head, 0.05) < len(head)
    assert calm.client(0).http.get("/livez").status_code == 200


def test_an_endless_head_is_hung_up_on(calm):
    with RawTls(calm.port, calm.authority) as raw:
        with suppress(OSError):
            raw.send(b"GET /livez HTTP/1.1\r\nhost: x\r\nx-filler: " + b"y" * (8 << 20))
        assert raw.answer()[:12] in (b"", b"HTTP/1.1 431")
    assert calm.client(0).http.get("/livez").status_code == 200


@pytest.mark.parametrize(
    "bomb",
    [
        b"\x9f" * 200,
        b"\x81" * 400 + b"\x00",
        b"\x5b" + b"\xff" * 8,
        b"\x9b" + b"\x7f" * 8,
        b"\xd8\x23\x78\x20" + b"(a+)+$" * 5 + b"aa",
        b"\xfb" + b"\x00" * 8,
        b"",
        b"\xa1\x00\x00",
    ],
    ids=["indefinite", "deep", "huge-bytes", "huge-list", "regex-tag", "float", "empty", "map"],
)
@pytest.mark.parametrize("path", ["/v1/endorsements", "/v1/rounds/{}/envelopes"])
def test_a_cbor_bomb_is_refused_as_no_envelope(calm, round_id, bomb, path):
    answer = calm.client(1).ask("POST", path.format(round_id), bomb)
    assert problem(answer) == "wrong-envelope"


def submit_of(calm, node: int, signer: int, body: bytes, length: int | None = None) -> bytes:
    message = Submit(bytes(32), node, hashlib.sha256(body).digest(), len(body) if length is None else length)
    return sign_message(calm.parties.identities[signer], node, message)


def test_another_nodes_envelope_is_not_taken(calm, round_id, node):
    stolen = submit_of(calm, 1, 1, vector(calm))
    answer = node.ask("POST", f"/v1/rounds/{round_id}/envelopes", stolen)
    assert (problem(answer), answer.json()["detail"]) == ("wrong-envelope", "unknown-node")


def test_an_envelope_under_a_forged_signature_is_not_taken(calm, round_id, node):
    forged = submit_of(calm, 0, 1, vector(calm))
    answer = node.ask("POST", f"/v1/rounds/{round_id}/envelopes", forged)
    assert (problem(answer), answer.json()["detail"]) == ("wrong-envelope", "bad-signature")


def test_a_submit_before_its_vector_is_refused(calm, round_id, node):
    answer = node.ask("POST", f"/v1/rounds/{round_id}/envelopes", submit_of(calm, 0, 0, vector(calm)))
    assert problem(answer) == "payload-missing"


def test_a_message_of_another_phase_is_refused(calm, round_id, node):
    keys = calm.parties.encryptions[0].public
    message = Advertise(bytes(32), 0, keys, keys, bytes(32), bytes(32))
    early = sign_message(calm.parties.identities[0], 0, message)
    assert problem(node.ask("POST", f"/v1/rounds/{round_id}/envelopes", early)) == "wrong-phase"


def test_a_vector_is_taken_once_and_a_third_is_one_too_many(calm, round_id):
    client, bodies = calm.client(2), [vector(calm) for _ in range(3)]
    first = client.ask("PUT", payload_path(round_id, bodies[0]), bodies[0])
    again = client.ask("PUT", payload_path(round_id, bodies[0]), bodies[0])
    assert (first.status_code, again.status_code) == (201, 200)
    assert client.ask("PUT", payload_path(round_id, bodies[1]), bodies[1]).status_code == 201
    assert problem(client.ask("PUT", payload_path(round_id, bodies[2]), bodies[2])) == "quota"
    header = submit_of(calm, 2, 2, bodies[0])
    assert client.ask("POST", f"/v1/rounds/{round_id}/envelopes", header).status_code == 202
    assert client.ask("POST", f"/v1/rounds/{round_id}/envelopes", header).status_code == 202
    lying = submit_of(calm, 2, 2, bodies[1], 7)
    assert problem(client.ask("POST", f"/v1/rounds/{round_id}/envelopes", lying)) == "payload-missing"


def test_a_vector_under_another_name_is_refused(calm, round_id, node):
    body = vector(calm)
    assert problem(node.ask("PUT", payload_path(round_id, b"other"), body)) == "digest-differs"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/nowhere", "not-found"),
        ("GET", "/v1/../etc/passwd", "not-found"),
        ("DELETE", "/v1/policy", "method-not-allowed"),
        ("GET", "/v1/rounds/999999/mail", "unknown-round"),
        ("PUT", "/v1/rounds/999999/ready", "unknown-round"),
        ("GET", "/v1/rounds/x/mail", "bad-parameter"),
        ("GET", "/v1/rounds/1/mail?wait=26", "bad-parameter"),
        ("GET", "/v1/evidence?nonce=zz", "bad-parameter"),
        ("GET", f"/v1/artifacts/{'0' * 64}", "unknown-artifact"),
        ("GET", "/v1/artifacts/..%2f..%2fgateway.json", "bad-parameter"),
        ("GET", "/v1/models/none/release", "unknown-model"),
        ("GET", "/v1/models/model/release", "no-release"),
        ("GET", "/v1/consistency?first=0&second=9", "log-too-short"),
        ("GET", "/v1/consistency?first=2&second=1", "bad-parameter"),
    ],
)
def test_every_error_is_a_problem(node, method, path, code):
    found = problem(node.ask(method, path))
    assert found == code or (code == "bad-parameter" and found == "not-found")


def test_refused_endorsements_leave_no_file(calm):
    """Without an enclave nothing takes them away: the quota holds on the disk as well."""
    identity, client = calm.parties.identities[3], calm.client(3)
    codes = []
    for epoch in range(1, 13):
        body = sign_message(identity, 3, Endorse("federation", 3, epoch, bytes(32)))
        answer = client.ask("POST", "/v1/endorsements", body)
        codes.append(answer.status_code if answer.status_code == 202 else problem(answer))
    accepted = codes.count(202)
    assert 0 < accepted < 12 and set(codes[accepted:]) == {"quota"}
    kept = [path for path in (calm.home / "spool").rglob("*") if path.is_file() and "endorse" in str(path)]
    assert len(kept) == accepted


def test_invented_methods_make_no_new_counts(calm, node):
    for number in range(20):
        node.http.request(f"INVENTED{number}", f"{calm.url}/v1/policy")
    counts = httpx.get(f"{calm.metrics}/metrics").text
    assert "INVENTED" not in counts and 'method="other"' in counts
