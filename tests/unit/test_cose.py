"""COSE_Sign1: published structures and signatures, round trips with real keys, and what is refused."""

from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from crimson_protocol import cose
from crimson_protocol.cose import Algorithm
from crimson_protocol.errors import CallerFault, PeerFault
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire import cbor

CAP = 1 << 16
CONTENT = b"This is the content."
KID = bytes(range(16))
# RFC 8032 section 7.1, test 1; the same key signs the Ed25519 examples of the COSE working group.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = Ed25519PublicKey.from_public_bytes(
    bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
)
# COSE working group examples, eddsa-examples/eddsa-sig-01.
GROUP_PROTECTED = bytes.fromhex("a201270300")
GROUP_SIGNATURE = bytes.fromhex(
    "7142fd2ff96d56db85bee905a76ba1d0b7321a95c8c4d3607c5781932b7afb87"
    "11497dfa751bf40b58b3bcc32300b1487f3db34085eef013bf08f4a44d6fef0d"
)
GROUP_MESSAGE = bytes.fromhex("d28445a201270300a10442313154" + CONTENT.hex() + "5840") + GROUP_SIGNATURE


def refusal(data: bytes, cap: int = CAP) -> Refusal:
    with pytest.raises(PeerFault) as caught:
        cose.parse(data, cap)
    return caught.value.code


def message(*parts: Any) -> bytes:
    return cbor.encode(list(parts))


EDDSA = cose.protected_header(Algorithm.EDDSA)
SIGNATURE = bytes(64)
GOOD = message(EDDSA, {}, CONTENT, SIGNATURE)


@pytest.mark.parametrize(
    ("protected", "external", "expected"),
    [
        # Working group examples eddsa-sig-02 and sign1-tests/sign-pass-02 (with external data).
        ("a10127", "", "846a5369676e61747572653143a101274054546869732069732074686520636f6e74656e742e"),
        (
            "a10126",
            "11aa22bb33cc44dd55006699",
            "846a5369676e61747572653143a10126"
            "4c11aa22bb33cc44dd5500669954546869732069732074686520636f6e74656e742e",
        ),
    ],
)
def test_published_signature_structures(protected: str, external: str, expected: str) -> None:
    assert cose.sig_structure(bytes.fromhex(protected), bytes.fromhex(external), CONTENT).hex() == expected


def test_a_published_signature_holds_over_our_structure() -> None:
    PUBLIC.verify(GROUP_SIGNATURE, cose.sig_structure(GROUP_PROTECTED, b"", CONTENT))
    with pytest.raises(InvalidSignature):
        PUBLIC.verify(GROUP_SIGNATURE, cose.sig_structure(GROUP_PROTECTED, b"x", CONTENT))


def test_the_published_message_itself_is_refused_for_its_tag_and_its_headers() -> None:
    assert refusal(GROUP_MESSAGE) is Refusal.MALFORMED
    assert refusal(GROUP_MESSAGE[1:]) is Refusal.MALFORMED
    assert refusal(message(GROUP_PROTECTED, {}, CONTENT, GROUP_SIGNATURE)) is Refusal.MALFORMED


def test_an_ed25519_message_from_a_published_key_byte_by_byte() -> None:
    assert EDDSA.hex() == "a10127"
    signature = Ed25519PrivateKey.from_private_bytes(SEED).sign(
        bytes.fromhex("846a5369676e61747572653143a101274054") + CONTENT
    )
    built = cose.build(EDDSA, CONTENT, signature)
    assert built == bytes.fromhex("8443a10127a054") + CONTENT + bytes.fromhex("5840") + signature
    parsed = cose.parse(built, len(built))
    assert parsed == cose.Sign1(EDDSA, Algorithm.EDDSA, None, CONTENT, signature)
    PUBLIC.verify(parsed.signature, cose.sig_structure(parsed.protected, b"", CONTENT))


def test_an_ml_dsa_message_with_key_id_and_detached_payload() -> None:
    key = MLDSA65PrivateKey.generate()
    protected = cose.protected_header(Algorithm.ML_DSA_65, KID)
    assert protected == bytes.fromhex("a20138300450") + KID
    signature = key.sign(cose.sig_structure(protected, b"label", CONTENT))
    built = cose.build(protected, None, signature)
    assert CONTENT not in built
    parsed = cose.parse(memoryview(built), len(built))
    assert (parsed.alg, parsed.kid, parsed.payload) == (Algorithm.ML_DSA_65, KID, None)
    key.public_key().verify(parsed.signature, cose.sig_structure(parsed.protected, b"label", CONTENT))


@given(st.sampled_from(Algorithm), st.none() | st.binary(min_size=16, max_size=16), st.none() | st.binary())
def test_what_is_built_parses_to_its_parts(alg: Algorithm, kid: bytes | None, payload: bytes | None) -> None:
    protected, signature = cose.protected_header(alg, kid), bytes(cose.SIGNATURE_BYTES[alg])
    built = cose.build(protected, payload, signature)
    assert cose.parse(built, len(built)) == cose.Sign1(protected, alg, kid, payload, signature)


@given(st.binary(max_size=8), st.binary(max_size=8), st.binary(max_size=8), st.integers(0, 8))
def test_bytes_cannot_move_between_the_parts_that_are_signed(a: bytes, b: bytes, c: bytes, cut: int) -> None:
    joined = a + b
    moved = (joined[:cut], joined[cut:], c)
    assert (cose.sig_structure(*moved) == cose.sig_structure(a, b, c)) is (moved == (a, b, c))


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ((EDDSA, {4: KID}, CONTENT, SIGNATURE), Refusal.MALFORMED),  # anything outside the signature
        ((EDDSA, {1: -8}, CONTENT, SIGNATURE), Refusal.MALFORMED),
        ((EDDSA, {}, CONTENT), Refusal.MALFORMED),
        ((EDDSA, {}, CONTENT, SIGNATURE, b""), Refusal.MALFORMED),
        ((EDDSA, [], CONTENT, SIGNATURE), Refusal.MALFORMED),
        ((EDDSA, None, CONTENT, SIGNATURE), Refusal.MALFORMED),
        ((EDDSA, {}, "text", SIGNATURE), Refusal.MALFORMED),
        ((EDDSA, {}, 1, SIGNATURE), Refusal.MALFORMED),
        ((EDDSA, {}, CONTENT, None), Refusal.MALFORMED),
        ((None, {}, CONTENT, SIGNATURE), Refusal.MALFORMED),
        (({1: -8}, {}, CONTENT, SIGNATURE), Refusal.MALFORMED),
        ((b"", {}, CONTENT, SIGNATURE), Refusal.MALFORMED),
        ((cbor.encode({}), {}, CONTENT, SIGNATURE), Refusal.MALFORMED),  # no algorithm
        ((cbor.encode({4: KID}), {}, CONTENT, SIGNATURE), Refusal.MALFORMED),
        ((cbor.encode({1: -8, 2: [4]}), {}, CONTENT, SIGNATURE), Refusal.MALFORMED),  # "crit", a list
        ((cbor.encode({1: -8, 3: 0}), {}, CONTENT, SIGNATURE), Refusal.MALFORMED),  # a content type
        ((cbor.encode({"1": -8}), {}, CONTENT, SIGNATURE), Refusal.MALFORMED),
        ((cbor.encode([1, -8]), {}, CONTENT, SIGNATURE), Refusal.MALFORMED),
        ((cbor.encode({1: -8, 4: "abcdefghijklmnop"}), {}, CONTENT, SIGNATURE), Refusal.MALFORMED),
        ((cbor.encode({1: -8, 4: b"11"}), {}, CONTENT, SIGNATURE), Refusal.WRONG_LENGTH),
        ((cbor.encode({1: -8, 4: b""}), {}, CONTENT, SIGNATURE), Refusal.WRONG_LENGTH),
        ((cbor.encode({1: -8, 4: bytes(17)}), {}, CONTENT, SIGNATURE), Refusal.WRONG_LENGTH),
        ((cbor.encode({1: -8, 4: bytes(64)}), {}, CONTENT, SIGNATURE), Refusal.TOO_LARGE),
        ((bytes.fromhex("a1013807"), {}, CONTENT, SIGNATURE), Refusal.NOT_CANONICAL),  # -8 in two bytes
        (
            (bytes.fromhex("a20450000000000000000000000000000000000127"), {}, b"", SIGNATURE),
            Refusal.NOT_CANONICAL,
        ),
        ((bytes.fromhex("a201270127"), {}, CONTENT, SIGNATURE), Refusal.MALFORMED),  # two algorithms
        ((bytes.fromhex("a1012700"), {}, CONTENT, SIGNATURE), Refusal.MALFORMED),
        ((bytes.fromhex("a101f6"), {}, CONTENT, SIGNATURE), Refusal.MALFORMED),
        ((cbor.encode({1: -7}), {}, CONTENT, SIGNATURE), Refusal.UNSUPPORTED),  # ES256
        ((cbor.encode({1: -48}), {}, CONTENT, SIGNATURE), Refusal.UNSUPPORTED),  # ML-DSA-44
        ((cbor.encode({1: 5}), {}, CONTENT, SIGNATURE), Refusal.UNSUPPORTED),  # HMAC
        ((cbor.encode({1: "EdDSA"}), {}, CONTENT, SIGNATURE), Refusal.UNSUPPORTED),
        ((EDDSA, {}, CONTENT, bytes(63)), Refusal.WRONG_LENGTH),
        ((EDDSA, {}, CONTENT, b""), Refusal.WRONG_LENGTH),
        ((cose.protected_header(Algorithm.ML_DSA_65), {}, CONTENT, bytes(64)), Refusal.WRONG_LENGTH),
        ((EDDSA, {}, CONTENT, bytes(3309)), Refusal.WRONG_LENGTH),
    ],
)
def test_refuses_other_shapes_headers_and_lengths(parts: tuple[Any, ...], code: Refusal) -> None:
    assert refusal(message(*parts)) is code


def test_refuses_tags_trailing_bytes_and_size() -> None:
    assert cose.parse(GOOD, len(GOOD)).payload == CONTENT
    assert refusal(b"\xd2" + GOOD) is Refusal.MALFORMED
    assert refusal(GOOD + b"\0") is Refusal.MALFORMED
    assert refusal(GOOD, len(GOOD) - 1) is Refusal.TOO_LARGE
    assert refusal(b"") is Refusal.MALFORMED
    assert refusal(cbor.encode({1: 2})) is Refusal.MALFORMED


@given(st.binary(max_size=40) | st.binary(min_size=1, max_size=3).map(lambda tail: GOOD[: -len(tail)] + tail))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    try:
        parsed = cose.parse(data, CAP)
    except PeerFault:
        return
    assert cose.build(parsed.protected, parsed.payload, parsed.signature) == data


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_changed_byte_changes_the_parts_or_is_refused(at: int, change: int) -> None:
    data = bytearray(GOOD)
    data[at] ^= change
    try:
        parsed = cose.parse(bytes(data), CAP)
    except PeerFault:
        return
    assert parsed != cose.parse(GOOD, CAP)


def test_building_what_would_not_parse_is_the_caller_s_fault() -> None:
    for protected, signature in ((b"", SIGNATURE), (GROUP_PROTECTED, SIGNATURE), (EDDSA, bytes(63))):
        with pytest.raises(CallerFault):
            cose.build(protected, CONTENT, signature)
    with pytest.raises(CallerFault):
        cose.protected_header(Algorithm.EDDSA, b"11")
