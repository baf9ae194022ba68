"""A policy's YAML is plain: whatever could mean two things, grow, or run is refused with file and line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crimson_governance.outcome import BadYaml, CommandFailed
from crimson_governance.source.yaml_tree import MAX_DEPTH, MAX_YAML, Scalar, read_tree

BOMB = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)

ATTACKS = {
    "alias bomb": (BOMB, 1, "anchor &a"),
    "alias": ("a: 1\nb: *a\n", 2, "alias *a"),
    "anchor alone": ("a: 1\nb: &x 2\n", 2, "anchor &x"),
    "anchor on a key": ("&x a: 1\n", 1, "anchor &x"),
    "merge of an alias": ("a: {b: 1}\nc:\n  <<: *a\n", 3, "alias *a"),
    "tag that runs code": ("a: 1\nb: !!python/object/apply:os.system [ls]\n", 2, "the tag"),
    "tag of a text": ("a: !!str 1\n", 1, "the tag"),
    "own tag": ("a: !include secrets.yaml\n", 1, "the tag"),
    "tag on a mapping": ("--- !!map\na: 1\n", 1, "the tag"),
    "second document": ("a: 1\n---\nb: 2\n", 2, "second document"),
    "directive": ("%YAML 1.1\n---\na: yes\n", 2, "directive"),
    "tag directive": ("%TAG ! tag:example.org,2026:\n---\na: 1\n", 2, "directive"),
    "key twice": ("a: 1\nb: 2\na: 3\n", 3, "'a' stands here twice, first in line 1"),
    "key twice, once quoted": ('a: 1\n"a": 3\n', 2, "twice"),
    "key twice, deep": ("x:\n  - b: 1\n    b: 2\n", 3, "twice"),
    "key that is a list": ("? [1, 2]\n: 3\n", 1, "a key must be a text"),
    "key that is empty": (": 3\n", 1, "a key must be a text"),
    "deep nesting": ("a:\n" + "".join(" " * depth + "- \n" for depth in range(1, 40)), 17, "deeper"),
    "deep nesting on one line": ("[" * 100_000, 1, "deeper"),
    "tabs": ("a:\n\t- 1\n", 2, "token"),
    "no end": ("a: [1,\n", 2, "expected"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_with_its_line(name):
    text, line, told = ATTACKS[name]
    with pytest.raises(BadYaml) as caught:
        read_tree("federation.yaml", text.encode())
    assert told in caught.value.message
    assert caught.value.message.startswith(f"federation.yaml:{line}:")
    assert (caught.value.exit_code, caught.value.code) == (4, "bad-yaml")


def test_a_huge_file_is_refused_before_it_is_parsed():
    with pytest.raises(BadYaml) as caught:
        read_tree("roster.yaml", b"#" * (MAX_YAML + 1))
    assert str(MAX_YAML) in caught.value.message


@pytest.mark.parametrize("data", [b"a: \xff\xfe", b"a: \x00", b"a: \x1b[31m"])
def test_bytes_that_are_no_text_are_refused(data):
    with pytest.raises(BadYaml):
        read_tree("federation.yaml", data)


def test_the_deepest_nesting_that_is_allowed():
    document = read_tree("f", ("[" * (MAX_DEPTH - 1) + "x" + "]" * (MAX_DEPTH - 1)).encode())
    tree = document.tree
    for _ in range(MAX_DEPTH - 1):
        (tree,) = tree
    assert tree == Scalar("x", True)


def test_a_scalar_stays_the_text_that_it_is():
    text = "a: 1e3\nb: 0x1F\nc: yes\nd: 2026-01-01\ne: 012\nf: 'null'\ng: null\nh:\ni: 1_000\n"
    tree = read_tree("f", text.encode()).tree
    plain = {"a": "1e3", "b": "0x1F", "c": "yes", "d": "2026-01-01", "e": "012", "i": "1_000"}
    assert {key: tree[key] for key in plain} == {key: Scalar(value, True) for key, value in plain.items()}
    assert tree["f"] == Scalar("null", False)
    assert tree["g"] is None and tree["h"] is None


def test_every_value_knows_its_line():
    document = read_tree("f", b"a: 1\nb:\n  - c: 2\n  - c:\n      3\n")
    assert document.line(("b", 1, "c")) == 4
    assert document.line(("b", 0)) == 3
    assert document.line(("b", 7, "nowhere")) == 2
    assert document.line(("nothing",)) == 1


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!?|>'\"%#,\n \t~<"), max_size=60))
def test_no_text_does_anything_but_parse_or_be_refused(text):
    try:
        read_tree("f", text.encode())
    except CommandFailed as error:
        assert error.code == "bad-yaml"
