"""The node's HTTPS client against a real server: trust, time, sizes, types, and what is asked again."""

import json
import ssl
import time
from dataclasses import replace

import pytest
from tests.node.federation import MOMENTS
from tests.node.raw_tls import RawTls
from tests.node.relay import Refused

from crimson_node.outcome import CONNECTION, INTEGRITY_FAILED, TIMED_OUT, failure_of
from crimson_node.settings import read_settings
from crimson_node.transport import client as client_module
from crimson_node.transport.backoff import LONGEST_ASKED, Backoff, retry_after
from crimson_node.transport.client import Body
from crimson_node.transport.errors import (
    BadAnswer,
    Busy,
    Problem,
    TimedOut,
    Transient,
    Unreachable,
)
from crimson_node.transport.failures import clock_difference
from crimson_node.transport.gateway import connect
from crimson_protocol.policy.document import MAX_POLICY


class Counting:
    """Patience for so many tries, remembering how long each pause would have been."""

    def __init__(self, tries: int = 5) -> None:
        self.tries, self.pauses = tries, []

    def pause(self, error: Transient, tries: int, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.pauses) >= self.tries:
            raise error


@pytest.fixture
def asking(federation):
    """A federation of which one node's gateway API is driven by the test."""
    one, opened = federation(), []

    def make(patience=None, clock=lambda: int(time.time())):
        home = one.homes.home(0)
        if not home.exists():
            one.write(0)
        gateway = connect(
            read_settings(home), one.homes.parties.identities[0], patience or Counting(), clock, Backoff(0, 0)
        )
        opened.append(gateway)
        return one, gateway

    yield make
    for gateway in opened:
        gateway.close()


def test_tls_is_of_version_1_3_where_the_gateway_knows_it(asking):
    _, gateway = asking()
    _, answer = gateway.version()
    assert answer.extensions["network_stream"].get_extra_info("ssl_object").version() == "TLSv1.3"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_below_1_2_is_refused(asking):
    one, gateway = asking()
    context = one.relay.server._server._context
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((BadAnswer, Unreachable)):
        gateway.version()


@pytest.mark.parametrize("status", [429, 502, 503, 504, 507])
def test_a_busy_gateway_is_asked_again_with_the_same_bytes_and_a_new_nonce(asking, status):
    one, gateway = asking()
    one.relay.fail["payloads"] = [Refused(status, "busy"), Refused(status, "busy")]
    one.relay.call(MOMENTS)
    gateway.put_payload(1, Body.of(b"masked" * 1000))
    tries = [seen for seen in one.relay.requests if seen.method == "PUT"]
    assert len(tries) == 3
    assert len({seen.digest for seen in tries}) == 1
    assert len({seen.nonce for seen in tries}) == 3


def test_a_connection_that_breaks_after_the_request_is_asked_again_with_the_same_bytes(asking):
    one, gateway = asking()
    one.relay.hang_up["payloads"] = 2
    one.relay.call(MOMENTS)
    gateway.put_payload(1, Body.of(b"masked" * 1000))
    tries = [seen for seen in one.relay.requests if seen.method == "PUT"]
    assert (len(tries), len({seen.digest for seen in tries})) == (3, 1)


def test_a_body_from_a_file_is_streamed_again_from_its_start(asking, tmp_path):
    one, gateway = asking()
    data = bytes(range(256)) * 5000
    (tmp_path / "vector").write_bytes(data)
    one.relay.fail["payloads"] = [Refused(503, "busy")]
    one.relay.call(MOMENTS)
    known = Body.of(data)
    gateway.put_payload(1, Body.file(tmp_path / "vector", known.length, known.digest))
    assert one.relay.rounds[0].payloads[known.digest.hex()] == data


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_a_refusal_is_not_asked_again(asking, status):
    one, gateway = asking()
    one.relay.fail["endorsements"] = [Refused(status, "not-so")]
    with pytest.raises(Problem) as caught:
        gateway.endorse(b"x")
    assert (caught.value.status, caught.value.code, len(one.relay.requests)) == (status, "not-so", 1)


def test_retry_after_is_honoured_within_a_limit(asking):
    one, _ = asking()
    patience = Counting(3)
    _, gateway = asking(patience)
    one.relay.fail["policy"] = [
        Refused(503, "busy", Retry_After="7"),
        Refused(429, "busy", Retry_After="99999"),
    ]
    gateway.policy()
    assert patience.pauses == [7.0, LONGEST_ASKED]


def test_patience_ends_with_what_went_wrong(asking):
    one, _ = asking()
    _, gateway = asking(Counting(2))
    one.relay.fail["policy"] = [Refused(503, "busy")] * 5
    with pytest.raises(Busy) as caught:
        gateway.policy()
    assert (failure_of(caught.value).exit_code, len(one.relay.requests)) == (TIMED_OUT, 2)


def test_waits_grow_with_full_jitter():
    backoff = Backoff(0.25, 5.0)
    for tries in range(40):
        waits = [backoff.pause(tries) for _ in range(50)]
        assert 0 <= min(waits) < max(waits) <= min(5.0, 0.25 * 2**tries)
    assert retry_after("Wed, 21 Oct 2015 07:28:10 GMT", 1445412480) == 10.0
    assert retry_after("soon", 0) is retry_after(None, 0) is None


@pytest.mark.parametrize("declared", [True, False])
def test_an_answer_over_its_cap_is_not_read(asking, declared):
    """By its declared length before a byte, and by its real length where the declaration lies."""
    one, gateway = asking()
    if declared:
        one.relay.alter["evidence"] = lambda body, node: bytes(1 << 20)
        with pytest.raises(BadAnswer) as caught:
            gateway.evidence(bytes(32))
    else:
        with RawTls(
            one, b"HTTP/1.1 200 OK\r\nContent-Type: application/cbor\r\n\r\n" + bytes(1 << 18)
        ) as url:
            _, gateway = asking_at(one, url)
            with pytest.raises(BadAnswer) as caught:
                gateway.evidence(bytes(32))
    assert (caught.value.code, failure_of(caught.value).exit_code) == ("answer-too-large", INTEGRITY_FAILED)


def test_a_declared_length_of_a_gigabyte_is_refused_without_reading(asking):
    one, _ = asking()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/cbor\r\nContent-Length: {MAX_POLICY * 64}\r\n\r\n"
    with RawTls(one, head.encode()) as url:
        _, gateway = asking_at(one, url)
        with pytest.raises(BadAnswer) as caught:
            gateway.policy()
    assert caught.value.code == "answer-too-large"


@pytest.mark.parametrize("media", ["text/html", "application/octet-stream", ""])
def test_another_content_type_than_expected_is_refused(asking, media):
    one, gateway = asking()
    one.relay.media["policy"] = media
    with pytest.raises(BadAnswer) as caught:
        gateway.policy()
    assert (caught.value.code, failure_of(caught.value).exit_code) == ("wrong-content-type", INTEGRITY_FAILED)


def test_a_redirect_is_refused(asking):
    one, _ = asking()
    with RawTls(
        one, b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere/\r\nContent-Length: 0\r\n\r\n"
    ) as url:
        _, gateway = asking_at(one, url)
        with pytest.raises(BadAnswer):
            gateway.policy()


def test_what_is_not_http_is_told(asking):
    one, _ = asking()
    with RawTls(one, b"220 mail.example.org ESMTP\r\n") as url:
        _, gateway = asking_at(one, url, Counting(1))
        with pytest.raises(Unreachable):
            gateway.policy()


def test_a_trickled_answer_times_out(asking, monkeypatch):
    one, _ = asking()
    monkeypatch.setattr(client_module, "WHOLE_SECONDS", 0.3)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/cbor\r\nContent-Length: 1000\r\n\r\n"
    with RawTls(one, head + b"x" * 100, trickle=True) as url:
        _, gateway = asking_at(one, url, Counting(1))
        with pytest.raises(TimedOut):
            gateway.policy()


def test_a_gateway_that_goes_silent_times_out(asking, monkeypatch):
    one, _ = asking()
    monkeypatch.setattr(client_module, "QUIET_SECONDS", 0.3)
    with RawTls(one, b"") as url:
        _, gateway = asking_at(one, url, Counting(1))
        with pytest.raises(TimedOut) as caught:
            gateway.policy()
    assert failure_of(caught.value).exit_code == TIMED_OUT


def test_nobody_there_is_told_with_its_code(asking):
    one, _ = asking()
    _, gateway = asking_at(one, "https://127.0.0.1:1", Counting(1))
    with pytest.raises(Unreachable) as caught:
        gateway.policy()
    assert failure_of(caught.value).exit_code == CONNECTION


def test_what_a_gateway_writes_into_a_problem_cannot_reach_the_terminal(asking):
    one, _ = asking()
    document = json.dumps({"code": "UPPER\x1b[2J", "detail": "\x1b[31mred" + "x" * 5000}).encode()
    head = f"HTTP/1.1 409 No\r\nContent-Type: application/problem+json\r\nContent-Length: {len(document)}\r\n\r\n"
    with RawTls(one, head.encode() + document) as url:
        _, gateway = asking_at(one, url)
        with pytest.raises(Problem) as caught:
            gateway.endorse(b"x")
    assert caught.value.code == "http-409"
    assert caught.value.message.isprintable()
    assert len(caught.value.message) <= 300


def test_the_difference_of_two_clocks():
    assert clock_difference("Wed, 21 Oct 2015 07:28:00 GMT", 1445412480 + 600) == 600
    assert clock_difference("yesterday", 0) is None


def asking_at(one, url, patience=None):
    """The same node asking another address."""
    settings = replace(read_settings(one.homes.home(0)), gateway=url)
    identity = one.homes.parties.identities[0]
    return one, connect(settings, identity, patience or Counting(), lambda: int(time.time()), Backoff(0, 0))
