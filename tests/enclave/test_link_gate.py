"""The gate on the socket: what an untrusted host may send, and that it costs nothing but its connection."""

import hashlib
import threading
from dataclasses import replace

import numpy as np
import pytest
from tests.enclave.conftest import Inline
from tests.enclave.hosting import Client, Gone, Hosted, RefusedQuestion
from tests.playground import MODEL, parse

from crimson_protocol.fixed_point import decode
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.wire import cbor, link
from crimson_protocol.wire.messages.advertise import Advertise


def head(kind: int, length: int) -> bytes:
    return length.to_bytes(4, "big") + bytes([kind])


def dropped(client: Client, data: bytes) -> str:
    """Send bytes that break the protocol; the code of the last word, and the connection must be gone."""
    code = ""
    try:
        client.send(data)
        answer = client.receive()
        code = answer.code if isinstance(answer, link.Refused) else type(answer).__name__
        client.receive()
    except Gone:
        return code
    raise AssertionError("the connection is still there")


@pytest.mark.parametrize(
    "data",
    [
        head(4, 2**32 - 1),
        head(4, 1 << 20) + bytes(64),
        head(7, 2**32 - 1),
        head(1, 65),
        head(19, 1 << 28),
        head(19, 1),
        head(0, 0),
        head(99, 4),
    ],
    ids=[
        "4 GiB message",
        "1 MiB message",
        "4 GiB piece",
        "hello too long",
        "answer of 256 MiB",
        "answer",
        "kind 0",
        "kind 99",
    ],
)
def test_a_frame_that_is_too_large_or_unknown_is_refused_by_its_head(inline: Inline, data: bytes):
    place = inline.serve()
    assert dropped(Client(place), data) in ("too-large", "malformed")
    assert Client(place).status().phase == "Unendorsed"


@pytest.mark.parametrize(
    "body",
    [
        b"\x81" * 60,
        b"\x9b" + b"\xff" * 8,
        b"\x5b\x00\x00\x00\x01\x00\x00\x00\x00",
        b"\xd8\x23\x63(a+)+$",
        cbor.encode(["crimson/link/2"]),
        b"",
        b"\x98\x01" + cbor.encode("crimson/link/1"),
    ],
    ids=["deep", "huge array", "huge bytes", "regex tag", "version", "empty", "not canonical"],
)
def test_cbor_bombs_are_refused(inline: Inline, body: bytes):
    place = inline.serve()
    assert dropped(Client(place), head(1, len(body)) + body) != "Status"
    assert Client(place).status().phase == "Unendorsed"


def test_a_piece_that_nobody_asked_for_is_refused(inline: Inline):
    place = inline.serve()
    assert dropped(Client(place), head(7, 3) + b"abc") == "malformed"


def test_the_first_frame_is_a_hello(inline: Inline):
    place = inline.serve()
    client = Client(place, greet=False)
    assert dropped(client, link.frame(link.Attest(bytes(32)))) == ""


@pytest.mark.parametrize("sent", [b"\x00", head(1, 30), head(1, 30) + b"abc"], ids=["head", "body", "some"])
def test_a_trickled_frame_has_a_deadline(inline: Inline, sent: bytes):
    inline.patience = 0.2
    place = inline.serve()
    slow = Client(place)
    slow.send(sent)
    with pytest.raises(Gone):
        slow.read(1)
    assert Client(place).status().phase == "Unendorsed"


def test_an_idle_connection_has_no_deadline_and_gives_way_to_the_newest(inline: Inline):
    inline.patience = 0.1
    place = inline.serve()
    old = Client(place)
    threading.Event().wait(0.3)
    assert old.status().phase == "Unendorsed"
    new = Client(place)
    assert new.status().phase == "Unendorsed"
    with pytest.raises(Gone):
        old.status()


def test_half_a_vector_changes_nothing(inline: Inline, hosted: Hosted):
    inline.serve()
    client, said = ready_to_submit(hosted)
    reply = hosted.agents[0].receive(next(data for to, data in said if to == 0))
    vector = bytes(reply.payload)
    client.send(link.frame(link.Deliver(reply.control, len(vector))))
    client.send(link.header(link.Piece, 7) + vector[:7])
    client.close()
    client = hosted.client()
    assert 0 in client.status().waiting
    hosted.spool.vectors[0] = vector
    assert client.ask(link.Deliver(reply.control, len(vector)), vector) == link.Heard(())
    assert 0 not in client.status().waiting
    hosted.deliver(client, said, range(1, 6))
    finish(hosted, client)
    assert_sum(inline, hosted, range(6))


def ready_to_submit(hosted: Hosted):
    """All shares are dealt; the Shared messages are out and not delivered."""
    client = hosted.client()
    hosted.until(client, "Sharing")
    return client, client.close_phase("Sharing")


def finish(hosted: Hosted, client: Client, alive=range(6)) -> None:
    for phase in ("Submitting", "Confirming", "Unmasking"):
        said = client.close_phase(phase)
        hosted.deliver(client, said, alive)
    assert client.status().phase == "Released"


def assert_sum(inline: Inline, hosted: Hosted, accepted) -> None:
    """The opened sum is the plain sum of what these nodes encoded."""
    totals, nodes = inline.opened[-1]
    assert set(nodes) == set(accepted)
    layout = totals.layout
    bits, body = layout.numbers.ring_bits, layout.body
    plain = sum(decode(layout.read(hosted.encoded[node], 0, body), bits).astype(np.int64) for node in nodes)
    secure = sum(
        decode(layout.read(bucket.words, 0, body), bits).astype(np.int64) for bucket in totals.buckets
    )
    assert np.array_equal(plain, secure)


def test_a_vector_in_other_bytes_than_announced(inline: Inline, hosted: Hosted):
    inline.serve()
    client, said = ready_to_submit(hosted)
    reply = hosted.agents[0].receive(next(data for to, data in said if to == 0))
    vector = bytes(reply.payload)
    short = client.ask(link.Deliver(reply.control, len(vector)), vector[:-1])
    assert [(fault.culprit, fault.code) for fault in short.faults] == [("gateway", "wrong-length")]
    other = client.ask(link.Deliver(reply.control, len(vector)), bytes(len(vector)))
    assert [fault.culprit for fault in other.faults] == ["gateway"]
    # A run beyond its announcement is no slip of a host that counts.
    client.send(link.frame(link.Deliver(reply.control, 8)))
    with pytest.raises(Gone):
        client.pieces(vector)
        client.receive()
    client = hosted.client()
    with pytest.raises(Gone):
        client.ask(link.Deliver(reply.control, 1 << 40), b"")
    client = hosted.client()
    assert client.ask(link.Deliver(reply.control, len(vector)), vector) == link.Heard(())


def test_a_vector_with_a_message_that_has_none_is_read_over(inline: Inline, hosted: Hosted):
    inline.serve()
    client = hosted.client()
    said = hosted.begin(client)
    reply = hosted.agents[0].receive(said[0][1], hosted.offer_proof(client, hosted.agents[0], said[0][1]))
    assert client.ask(link.Deliver(reply.control, 40), bytes(40)) == link.Heard(())
    assert 0 not in client.status().waiting


def test_questions_may_be_asked_again(inline: Inline, hosted: Hosted):
    inline.serve()
    client = hosted.client()
    offer = hosted.begin(client)
    assert client.open(1) == offer
    said, before = offer, None
    for phase in ("Advertising", "Sharing", "Submitting", "Confirming", "Unmasking"):
        hosted.deliver(client, said)
        if before:
            assert client.close_phase(before) == said
        said, before = client.close_phase(phase), phase
        # A new connection of a gateway that did not get the answer.
        client = hosted.client()
        assert client.close_phase(phase) == said
    assert client.close_phase("Released") == said
    assert client.status().phase == "Released"
    assert len(inline.opened) == 1


def test_questions_out_of_turn_are_refused_and_change_nothing(inline: Inline, hosted: Hosted):
    inline.serve()
    client = hosted.client()
    for question in (link.Close("Advertising"), link.Close("Lost"), link.Deliver(b"", None)):
        with pytest.raises(RefusedQuestion, match="wrong-phase"):
            client.ask(question)
    with pytest.raises(RefusedQuestion, match="not-endorsed"):
        client.open(1)
    hosted.begin(client)
    for place in ((1, 2), (2, 1), (7, 1), (0, 1)):
        with pytest.raises(RefusedQuestion, match="wrong-phase"):
            client.open(*place)
    for phase in ("Sharing", "Unmasking", "Released"):
        with pytest.raises(RefusedQuestion, match="wrong-phase"):
            client.close_phase(phase)
    with pytest.raises(RefusedQuestion, match="model-rejected"):
        client.ask(link.Open("no such model", 1, 1))
    assert client.status().phase == "Advertising"


def test_a_released_round_goes_on_to_the_next_only(inline: Inline, hosted: Hosted):
    inline.serve()
    client = hosted.client()
    hosted.round(client)
    with pytest.raises(RefusedQuestion, match="after-confirm"):
        client.open(1, 2)
    with pytest.raises(RefusedQuestion, match="wrong-phase"):
        client.open(1, 1)
    assert client.open(2)


def test_an_attempt_with_too_few_nodes_says_its_abort_again(inline: Inline, hosted: Hosted):
    inline.serve()
    client = hosted.client()
    hosted.begin(client)
    said = client.close_phase("Advertising")
    status = client.status()
    assert (status.phase, status.code, status.again) == ("Aborted", "cohort-too-small", True)
    assert client.close_phase("Advertising") == client.close_phase("Aborted") == said
    assert parse(said[0][1]).code == "cohort-too-small"
    assert hosted.round(client).places == (link.Place(MODEL, 1, 2),)


class Vanishing(Client):
    """A gateway that dies at its `left`th fetch, before or in the middle of the answer."""

    left = 10**6
    middle = False

    def fetch(self, wanted):
        self.left -= 1
        data = super().fetch(wanted)
        if self.left == 0:
            if self.middle:
                self.send(link.header(link.Piece, 5) + data[:5])
            self.close()
            raise Gone("the gateway died")
        return data


@pytest.mark.parametrize("middle", [False, True])
def test_a_gateway_that_dies_during_a_release_does_not_cost_the_round(
    inline: Inline, hosted: Hosted, middle: bool
):
    """One node vanished after Share and one sent two inputs: their masks and vector must be taken out."""
    inline.serve()
    client, said = ready_to_submit(hosted)
    hosted.deliver(client, said, range(5))
    second_input(hosted, client, 1)
    alive = [0, 1, 2, 3, 4]
    for phase in ("Submitting", "Confirming"):
        hosted.deliver(client, client.close_phase(phase), alive)
    place, fetches = inline.home / f"{inline.starts}.sock", 0
    for at in range(1, 20):
        dying = Vanishing(place, hosted.spool)
        dying.left, dying.middle = at, middle
        try:
            dying.close_phase("Unmasking")
            break
        except Gone:
            fetches += 1
            assert hosted.client().status().phase == "Unmasking"
    assert fetches >= 3
    assert hosted.client().status().phase == "Released"
    assert_sum(inline, hosted, [0, 2, 3, 4])


def second_input(hosted: Hosted, client: Client, node: int) -> None:
    """The node signs a second vector: its first one will be rejected."""
    submit = hosted.submitted[node]
    other = replace(parse(submit), digest=hashlib.sha256(b"another").digest())
    control = sign_message(hosted.parties.identities[node], node, other)
    heard = client.ask(link.Deliver(control, 0), b"")
    assert [fault.code for fault in heard.faults] == ["second-input"]


def test_the_log_is_told_only_as_far_as_it_is_kept(inline: Inline, hosted: Hosted):
    inline.serve()
    client = hosted.client()
    hosted.begin(client)
    size = client.status().log_size
    forged = sign_message(hosted.parties.identities[0], 1, message(hosted))
    assert client.ask(link.Deliver(forged, None)).faults
    assert inline.started.session.log.tree.size > size
    assert client.status().log_size == size == len(client.leaves())


def message(hosted: Hosted) -> Advertise:
    key = bytes(1216)
    return Advertise(bytes(32), 1, key, key, bytes(32), bytes(32))
