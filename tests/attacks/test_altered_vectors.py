"""Attack 26: the relay alters, cuts or swaps masked vectors. Their signed digest tells whose bytes they are."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from tests.adversary import as_node, finish, nothing_opened, others, send
from tests.playground import default_numbers, lanes, parse

from crimson_enclave.dispatch import UntrustedFrame
from crimson_protocol.refusal import Refusal

NODE = 2


def flipped(data: bytes, place: int = 0) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def padded(data: bytes) -> bytes:
    """The last byte's unused bits set: 17 bits a word leave some."""
    return data[:-1] + bytes([data[-1] | 0x80])


ALTERED = {
    "first bit": (flipped, Refusal.DIGEST_DIFFERS),
    "last bit": (lambda data: flipped(data, len(data) - 1), Refusal.DIGEST_DIFFERS),
    "one byte short": (lambda data: data[:-1], Refusal.WRONG_LENGTH),
    "one byte long": (lambda data: data + b"\0", Refusal.WRONG_LENGTH),
    "one byte": (lambda data: data[:1], Refusal.WRONG_LENGTH),
    "cut in half": (lambda data: data[: len(data) // 2], Refusal.WRONG_LENGTH),
    "nothing": (lambda data: b"", Refusal.WRONG_LENGTH),
    "padding": (padded, Refusal.NOT_CANONICAL),
    "zeros": (lambda data: bytes(len(data)), Refusal.DIGEST_DIFFERS),
}


@pytest.fixture
def waiting(play):
    """Everybody but one node has submitted; its vector is in the relay's hands."""
    federation = play(6, numbers=default_numbers(6, ring_bits=17, value_bits=9, parameters=6))
    said = federation.until("shared")
    federation.deliver(said, others(federation, NODE))
    federation.reply = federation.deliver(said, [NODE], upload=False)[NODE]
    return federation


@pytest.mark.parametrize("name", ALTERED)
def test_what_the_relay_alters_is_the_relays_and_the_true_bytes_still_count(waiting, name):
    federation, (alter, code) = waiting, ALTERED[name]
    true = bytes(federation.reply.payload)
    altered, state = alter(true), federation.session.state
    before = [federation.session.state.sums.bucket(0).copy()]
    for pieces in ([altered], [altered[:7], altered[7:]]):
        faults = send(federation, federation.reply.control, *pieces)
        assert [(fault.culprit, fault.code) for fault in faults] == [("gateway", code)]
    assert federation.session.state is state
    assert np.array_equal(state.sums.bucket(0), before[0])
    assert federation.upload(NODE, federation.reply) == ()
    assert finish(federation, federation.close()) == "Released"
    assert np.array_equal(lanes(federation), federation.plain_sum(range(6)))


@pytest.mark.parametrize("name", ["one byte short", "one byte long", "padding"])
def test_what_the_node_signed_itself_is_the_nodes(waiting, name):
    federation, (alter, code) = waiting, ALTERED[name]
    altered = alter(bytes(federation.reply.payload))
    header = replace(parse(federation.reply.control), digest=hashlib.sha256(altered).digest())
    faults = send(federation, as_node(federation, NODE, header), altered)
    assert [(fault.culprit, fault.code) for fault in faults] == [(f"site-{NODE}", code)]
    assert finish(federation, federation.close(), others(federation, NODE)) == "Released"
    assert federation.opened[-1][1] == tuple(others(federation, NODE))


@pytest.mark.parametrize("more", [1, -1, 2**40])
def test_a_header_of_another_length_is_refused_before_a_byte_is_read(waiting, more):
    federation = waiting
    header = parse(federation.reply.control)
    control = as_node(federation, NODE, replace(header, length=header.length + more))

    def payload():
        raise AssertionError("the vector was read")
        yield b""

    faults = federation.session.receive(UntrustedFrame(control, payload()))
    assert [(fault.culprit, fault.code) for fault in faults] == [(f"site-{NODE}", Refusal.WRONG_LENGTH)]


def test_a_vector_under_another_nodes_header_is_the_relays(waiting):
    federation = waiting
    faults = send(federation, federation.reply.control, federation.spool.vectors[0])
    assert [(fault.culprit, fault.code) for fault in faults] == [("gateway", Refusal.DIGEST_DIFFERS)]


def test_a_frozen_digest_that_is_not_the_nodes_is_refused_by_the_node(play):
    federation = play(6)
    said = federation.until("frozen")
    submissions = tuple(
        replace(item, digest=bytes(32)) if item.node == NODE else item
        for item in parse(said[0][1]).submissions
    )
    forged = federation.alter(said[:1], submissions=submissions)
    found = federation.deliver(forged)
    assert not found
    assert {node: (fault.code, fault.culprit) for node, fault in federation.refused.items()} == {
        NODE: (Refusal.DIGEST_DIFFERS, "enclave")
    }
    assert federation.agents[NODE].state.phase.value == "Withdrawn"
    nothing_opened(federation)


@pytest.mark.parametrize("alter", [flipped, lambda data: data[:-1], lambda data: data + b"\0"])
def test_a_spool_that_gives_back_other_bytes_of_a_rejected_vector_loses_the_round(play, alter):
    """At release rejected vectors are streamed again; the relay is named, and no wrong sum leaves."""
    federation = play(6)
    replies = federation.deliver(federation.until("shared"))
    second = flipped(bytes(replies[NODE].payload))
    header = replace(parse(replies[NODE].control), digest=hashlib.sha256(second).digest())
    send(federation, as_node(federation, NODE, header), second)
    said = federation.close()
    federation.spool.vectors[NODE] = alter(federation.spool.vectors[NODE])
    assert finish(federation, said) == "Aborted"
    state = federation.session.state
    assert state.code in (Refusal.DIGEST_DIFFERS, Refusal.WRONG_LENGTH)
    assert (state.culprits, state.again) == (("gateway",), False)
    nothing_opened(federation)


def test_each_receipt_names_every_accepted_vector_by_digest(play):
    federation = play(4)
    federation.prepare()
    said, vectors = federation.open(), {}
    for phase in range(6):
        replies = federation.deliver(said)
        vectors |= {node: bytes(reply.payload) for node, reply in replies.items() if reply.payload}
        said = federation.close() if phase < 5 else said
    accepted = federation.session.state.receipt.accepted
    assert {item.node: item.digest for item in accepted} == {
        node: hashlib.sha256(vector).digest() for node, vector in vectors.items()
    }
