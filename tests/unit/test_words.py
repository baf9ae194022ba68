"""Fingerprints as words: a fixed list, easy to tell apart by ear, and bound to both keys."""

import hashlib

import pytest

from crimson_protocol.crypto.labels import FINGERPRINT
from crimson_protocol.wire import cbor
from crimson_protocol.words import FINGERPRINT_WORDS, WORDS, fingerprint

IDENTITY, ENCRYPTION = bytes(range(32)), bytes(1216)


def distance(one: str, other: str) -> int:
    """Letters that must change to make one word of another."""
    row = list(range(len(other) + 1))
    for place, letter in enumerate(one, 1):
        before, row[0] = row[0], place
        for at, wanted in enumerate(other, 1):
            before, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, before + (letter != wanted))
    return row[-1]


def test_there_is_one_short_plain_word_for_each_byte():
    assert len(set(WORDS)) == 256
    assert list(WORDS) == sorted(WORDS)
    assert all(4 <= len(word) <= 7 and word.isascii() and word.islower() and word.isalpha() for word in WORDS)


def test_no_two_words_begin_alike_end_alike_or_are_two_slips_apart():
    assert len({word[:3] for word in WORDS}) == 256
    assert len({word[-4:] for word in WORDS}) == 256
    close = [(one, other) for one in WORDS for other in WORDS if one < other and distance(one, other) < 3]
    assert not close


def test_the_list_is_part_of_the_protocol_and_never_changes():
    digest = hashlib.sha256(" ".join(WORDS).encode()).hexdigest()
    assert digest == "fad759854ce26bf55cd0add7d301eb540dd3774ceeab45dc200015ac35396133"


def test_a_fingerprint_is_ten_words_of_the_digest_of_both_keys():
    digest = hashlib.sha256(cbor.encode([FINGERPRINT, IDENTITY, ENCRYPTION])).digest()
    words = fingerprint(IDENTITY, ENCRYPTION)
    assert len(words) == FINGERPRINT_WORDS == 10
    assert [WORDS.index(word) for word in words] == list(digest[:10])


@pytest.mark.parametrize("changed", ["identity", "encryption", "both, swapped"])
def test_another_key_in_either_place_gives_other_words(changed):
    pairs = {
        "identity": (bytes(32), ENCRYPTION),
        "encryption": (IDENTITY, b"\x01" + ENCRYPTION[1:]),
        "both, swapped": (ENCRYPTION, IDENTITY),
    }
    assert fingerprint(*pairs[changed]) != fingerprint(IDENTITY, ENCRYPTION)
