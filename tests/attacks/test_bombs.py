"""Attack 22: bytes that are cheap to send and dear to read. Refused by size and shape before anything is built."""

import time
import tracemalloc

import pytest
from tests.adversary import faults_of, finish, others, send
from tests.playground import parse

from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.wire import cbor
from crimson_protocol.wire.envelope import Envelope, signed_bytes
from crimson_protocol.wire.table import BY_RECORD, MESSAGES, Role

BOMBS = {
    "a gigabyte declared": (b"\x5a\x40\x00\x00\x00", Refusal.MALFORMED),
    "an exabyte declared": (b"\x5b\x10" + bytes(7), Refusal.MALFORMED),
    "a billion items declared": (b"\x9a\x3b\x9a\xca\x00", Refusal.MALFORMED),
    "arrays in arrays": (b"\x81" * 10_000 + b"\x80", Refusal.TOO_LARGE),
    "maps in maps": (b"\xa1\x01" * 4_000 + b"\x80", Refusal.TOO_LARGE),
    "a million nulls": (b"\x9a\x00\x0f\x42\x40" + b"\xf6" * 1_000_000, Refusal.TOO_LARGE),
    "a key twice": (b"\xa2\x01\x01\x01\x01", Refusal.MALFORMED),
    "no end": (b"\x9f\x01", Refusal.NOT_CANONICAL),
    "a tag": (b"\xd8\x23\x64(a+)", Refusal.MALFORMED),
    "a bignum": (b"\xc2\x49\x01" + bytes(8), Refusal.MALFORMED),
    "a float": (b"\xfb" + bytes(8), Refusal.MALFORMED),
    "a long head": (b"\x18\x01", Refusal.NOT_CANONICAL),
    "something after the end": (b"\x80\x00", Refusal.MALFORMED),
    "nothing": (b"", Refusal.MALFORMED),
}


@pytest.mark.parametrize("name", BOMBS)
def test_the_enclave_refuses_and_names_the_relay(play, name):
    data, code = BOMBS[name]
    federation = play(4)
    offer = federation.until("offer")
    state = federation.session.state
    tracemalloc.start()
    started = time.perf_counter()
    faults = send(federation, data)
    taken, (_, peak) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [(fault.culprit, fault.code) for fault in faults] == [("gateway", code)]
    assert federation.session.state is state
    assert taken < 1
    assert peak < 1 << 20
    assert finish(federation, offer) == "Released"


@pytest.mark.parametrize("name", BOMBS)
def test_a_node_refuses_and_names_the_relay(play, name):
    data, code = BOMBS[name]
    federation = play(4)
    offer = federation.until("offer")
    before = federation.agents[0].state
    with pytest.raises(PeerFault) as caught:
        federation.agents[0].receive(data)
    assert (caught.value.code, caught.value.culprit) == (code, "gateway")
    assert federation.agents[0].state is before
    assert finish(federation, offer) == "Released"


@pytest.mark.parametrize(
    "name", [name for name in BOMBS if name not in ("a million nulls", "arrays in arrays")]
)
def test_a_signed_body_is_its_nodes_fault(play, name):
    """A member that signs the bomb itself is named; the others' round goes on."""
    data, code = BOMBS[name]
    if len(data) > 4096:
        code = Refusal.TOO_LARGE
    federation = play(6)
    offer = federation.until("offer")
    reply = federation.deliver(offer, others(federation, 4))[0]
    kind = Envelope.from_bytes(reply.control, 1 << 16).kind
    signature = federation.parties.identities[4].sign(signed_bytes(kind, 4, data))
    faults = send(federation, Envelope(kind, 4, data, signature).to_bytes())
    culprit = "gateway" if len(data) > 4096 else "site-4"
    assert [(fault.culprit, fault.code) for fault in faults] == [(culprit, code)]
    assert finish(federation, federation.close(), others(federation, 4)) == "Released"


@pytest.mark.parametrize(
    "message", [item for item in MESSAGES if item.sender is Role.NODE], ids=lambda i: i.name
)
def test_a_body_above_its_cap_is_refused_before_its_signature_is_checked(play, message):
    federation = play(4)
    federation.until("offer")
    body = bytes(message.cap(4) + 1)
    control = Envelope(message.kind, 0, body, bytes(64)).to_bytes()
    ((fault,), expected) = send(federation, control), Refusal.TOO_LARGE
    if message.inner:
        expected = Refusal.MALFORMED
    assert (fault.culprit, fault.code) == ("gateway", expected)
    assert faults_of(federation) == [("gateway", expected)]


def test_a_message_of_the_enclave_is_none_of_a_nodes(play):
    federation = play(4)
    offer = federation.until("offer")
    forged = sign_message(federation.parties.identities[0], 0, parse(offer[0][1]))
    assert [(fault.culprit, fault.code) for fault in send(federation, forged)] == [
        ("gateway", Refusal.MALFORMED)
    ]
    assert [(fault.culprit, fault.code) for fault in send(federation, offer[0][1])] == [
        ("gateway", Refusal.MALFORMED)
    ]


def test_a_manifest_on_its_own_is_no_message(play):
    federation = play(4)
    said = federation.until("roster")
    replies = federation.deliver(said, upload=False)
    manifest = parse(replies[0].control).manifest
    assert [(fault.culprit, fault.code) for fault in send(federation, manifest)] == [
        ("gateway", Refusal.MALFORMED)
    ]


def test_records_with_a_field_too_many_or_out_of_order_are_refused(play):
    federation = play(4)
    offer = parse(federation.until("offer")[0][1])
    record = BY_RECORD[type(offer)].record
    plain = offer.to_plain()
    for wrong in ([*plain, None], plain[:-1], dict(enumerate(plain)), [plain], plain[::-1]):
        with pytest.raises(PeerFault) as caught:
            record.from_bytes(cbor.encode(wrong), 1 << 16)
        assert caught.value.code is Refusal.MALFORMED
