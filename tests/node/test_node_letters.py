"""Letters that a hostile relay alters, repeats or makes up: they cost an attempt at most."""

from dataclasses import replace

import pytest
from tests.node.federation import MODEL, MOMENTS
from tests.playground import parse

from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.wire import web
from crimson_protocol.wire.messages.endorse import Endorse
from crimson_protocol.wire.messages.submit import Submit


def refused(node) -> set[str]:
    """Codes of what a node said it refused."""
    return {event.fields["code"] for event in node.said("refused")}


def test_an_altered_letter_costs_the_attempt_and_nothing_else(federation):
    one = federation(6, patience=1.0)
    one.start()
    hit = []

    def alter(mail: bytes, node: int) -> bytes | None:
        parsed = web.Mail.from_bytes(mail, web.MAX_MAIL)
        if node != 0 or not parsed.letters or hit:
            return None
        hit.append(node)
        first = parsed.letters[0]
        data = first.data[:-80] + bytes([first.data[-80] ^ 1]) + first.data[-79:]
        return replace(parsed, letters=(replace(first, data=data), *parsed.letters[1:])).to_bytes()

    one.relay.alter["mail"] = alter
    assert one.round(MOMENTS) == "released"
    assert Refusal.BAD_SIGNATURE.value in refused(one.running[0])
    assert one.round(MODEL) == "released"
    one.relay.wait(lambda: len(one.running[0].said("released")) == 2)


def doubled(relay, pair) -> None:
    """Every letter becomes two, as `pair` makes them from it and its reader."""
    original = relay.on_mail

    def on_mail(exchange):
        exchange.query["after"] = str(int(exchange.query["after"]) // 2)
        return original(exchange)

    def double(mail: bytes, node: int) -> bytes:
        parsed = web.Mail.from_bytes(mail, web.MAX_MAIL)
        letters = []
        for letter in parsed.letters:
            first, second = pair(letter.data, node)
            letters += [web.Letter(2 * letter.sequence - 1, first), web.Letter(2 * letter.sequence, second)]
        return replace(parsed, letters=tuple(letters)).to_bytes()

    relay.on_mail, relay.alter["mail"] = on_mail, double


def test_replayed_mail_changes_nothing(federation):
    """Every letter comes twice: every answer is given once, and no other a second time."""
    one = federation()
    one.start()
    doubled(one.relay, lambda data, _: (data, data))
    assert one.round(MOMENTS) == "released"
    one.relay.wait(lambda: one.running[0].said("released"))
    assert refused(one.running[0]) == {Refusal.WRONG_PHASE.value}
    posted = [
        seen.digest for seen in one.relay.requests if seen.node == 0 and seen.path.endswith("/envelopes")
    ]
    # A request for shares that comes again gets the very same bytes.
    assert (len(set(posted)), len(posted)) == (5, 6)


def test_mail_of_another_round_is_refused(federation):
    one = federation()
    one.start(0)
    one.relay.alter["mail"] = lambda mail, node: replace(
        web.Mail.from_bytes(mail, web.MAX_MAIL), round_id=77
    ).to_bytes()
    one.relay.call(MOMENTS)
    error = one.running[0].ended()
    assert (error.code, error.culprit) == (Refusal.MALFORMED, "gateway")


@pytest.mark.parametrize("forged", ["unsigned-by-the-enclave", "a-node's-message"])
def test_letters_that_no_enclave_wrote_are_passed_over(federation, forged):
    one = federation()
    one.start()
    stranger = one.homes.parties.identities[1]

    def pair(data: bytes, _: int) -> tuple[bytes, bytes]:
        if forged == "a-node's-message":
            return sign_message(stranger, 1, Submit(bytes(32), 1, bytes(32), 4)), data
        return sign_message(stranger, None, parse(data)), data

    doubled(one.relay, pair)
    assert one.round(MOMENTS) == "released"
    for node in one.running.values():
        assert refused(node) == {Refusal.MALFORMED.value} or refused(node) == {Refusal.BAD_SIGNATURE.value}


def test_endorsements_name_the_very_instance(federation):
    one = federation()
    one.start()
    one.relay.wait(lambda: len(one.relay.session.endorsed) == 4)
    claims = one.relay.session.instance.claims
    envelope = sign_message(one.homes.parties.identities[0], 0, Endorse("federation", 0, 1, claims.digest()))
    assert not one.relay.session.endorse(envelope)
