"""Numbers in a source are exact or refused, words are known or refused, and errors say where and what instead."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.governance.sources import (
    HAZARD,
    NODE,
    RECORD,
    Plain,
    SourceFolder,
    dumped,
    model,
    node,
    private,
    run,
)

from crimson_governance.source import scalars
from crimson_governance.source.folder import read_source
from crimson_governance.source.yaml_tree import Scalar


@given(st.integers(0, 10**21 - 1), st.integers(0, 6))
def test_a_decimal_becomes_exactly_its_millionths(value, places):
    text = str(Decimal(value).scaleb(-places).quantize(Decimal(1).scaleb(-places)))
    if len(text.split(".", maxsplit=1)[0]) > 15:
        return
    assert scalars.micro(Scalar(text, True)) == value * 10 ** (6 - places)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.1", 100_000),
        ("0.000001", 1),
        ("8", 8_000_000),
        ("8.000000", 8_000_000),
        ("123456789.123457", 123456789123457),
    ],
)
def test_decimals_that_floating_point_would_round(text, expected):
    assert scalars.micro(Scalar(text, True)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "0.0000001",
        "8.0000000",
        "1e3",
        "1_000",
        "-1",
        "+1",
        ".5",
        "5.",
        "01",
        "0x10",
        "inf",
        "nan",
        "1,5",
        "٣",
        "",
    ],
)
def test_a_number_that_is_no_plain_decimal_is_refused(text):
    with pytest.raises(ValueError):
        scalars.micro(Scalar(text, True))


@pytest.mark.parametrize(("text", "expected"), [("-0.5", -500_000), ("-12", -12_000_000), ("3", 3_000_000)])
def test_an_end_of_a_range_may_be_below_zero(text, expected):
    assert scalars.signed_micro(Scalar(text, True)) == expected


@pytest.mark.parametrize("text", ["-", "--1", "-0", "-0.0", "- 1", "+1", "-1e3", "-.5", "−1"])
def test_a_minus_stands_before_a_plain_decimal_above_zero(text):
    with pytest.raises(ValueError):
        scalars.signed_micro(Scalar(text, True))


def test_epsilon_has_three_places():
    assert scalars.thousandths(Scalar("8.125", True)) == 8125
    with pytest.raises(ValueError, match="more than 3 decimal places"):
        scalars.thousandths(Scalar("8.1250", True))


@pytest.mark.parametrize("text", ["0.2", "1/0", "1", "-1/5", "1/5/2", "1 / 5", "01/5", "20%"])
def test_a_share_is_two_whole_numbers(text):
    assert scalars.share(Scalar("1/5", True)) == scalars.share(Scalar("1/5", False)) == (1, 5)
    with pytest.raises(ValueError, match="a share like 1/5"):
        scalars.share(Scalar(text, True))


@pytest.mark.parametrize("text", ["+1", "0o7", "1.0", "1e3", "١", "99999999999999999999"])
def test_a_whole_number_is_plain_decimal(text):
    with pytest.raises(ValueError):
        scalars.integer(Scalar(text, True))


def test_a_quoted_number_is_a_text():
    with pytest.raises(ValueError, match="without quotes"):
        scalars.integer(Scalar("4", False))
    with pytest.raises(ValueError, match="without quotes"):
        scalars.boolean(Scalar("true", False))


@pytest.mark.parametrize("text", ["yes", "on", "True", "1"])
def test_truth_is_true_or_false(text):
    with pytest.raises(ValueError):
        scalars.boolean(Scalar(text, True))


@pytest.mark.parametrize("text", ["AB" * 32, "ab" * 31, "ab" * 33, "0x" + "ab" * 31, "g" * 64])
def test_a_key_is_lower_case_hexadecimal(text):
    with pytest.raises(ValueError):
        scalars.hexadecimal(Scalar(text, True), 32)


def test_a_hexadecimal_key_that_looks_like_a_number_stays_a_key():
    for text in ("1" * 64, "1" * 30 + "e" + "1" * 33):
        assert scalars.hexadecimal(Scalar(text, True), 32) == bytes.fromhex(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [("AAA", "not base64"), ("AA==", "1 bytes"), ("A!AA", "not base64"), ("AAB=", "stray bits")],
)
def test_base64_is_whole_and_canonical(text, told):
    with pytest.raises(ValueError, match=told):
        scalars.base64_bytes(Scalar(text, False), 2)
    assert scalars.base64_bytes(Scalar("AA\nA=\n", False), 2) == b"\0\0"


@pytest.mark.parametrize("text", ["20270131", "2027-02-30", "2027-1-31", "2027-W05-1", "tomorrow"])
def test_a_day_is_a_date(text):
    assert scalars.day(Scalar("1970-01-02", True)) == 86_400
    with pytest.raises(ValueError):
        scalars.day(Scalar(text, True))


def score(**plan: object) -> dict:
    return model(model="score", strategy="sum", base="model", plan={"steps": 0, "learning_rate": 0, **plan})


AT_NODES = {**RECORD, "sampling": 1, "noise": "nodes"}
FAULTS = {
    "unknown key, near a known one": (
        {"federation": {"treshold": 2}},
        "federation.yaml:1: unknown key 'treshold' (did you mean 'threshold'?)",
    ),
    "unknown key, near none": ({"federation": {"xyzzy": 2}}, "unknown key 'xyzzy' (known: federation, "),
    "missing key": ({"federation": {"threshold": ...}}, "the key threshold is missing"),
    "key without a value": ({"federation": {"threshold": None}}, "threshold: a whole number"),
    "unknown kind": (
        {"nodes": [node("a", kind="hospitl")]},
        "roster.yaml:1: nodes[0].kind: 'hospitl' is none of hospital, blood_bank (did you mean hospital?)",
    ),
    "short encryption key": ({"nodes": [node("a", encryption_key="AAAA")]}, "base64 of 3 bytes, not of 1216"),
    "unknown key in a model": (
        {"models": [model(numbers={"bucketsize": 4})]},
        "models/model.yaml:1: unknown key 'bucketsize' (did you mean 'bucket_size'?)",
    ),
    "parameters in a model": ({"models": [model(numbers={"parameters": 4})]}, "unknown key 'parameters'"),
    "floating point in a model": (
        {"models": [model(numbers={"clip": Plain("0.12345678")})]},
        "numbers.clip: 0.12345678 has more than 6 decimal places and could not be kept exactly",
    ),
    "unknown strategy": ({"models": [model(strategy="fedavgg")]}, "did you mean fedavg?"),
    "unknown disclosure": ({"models": [model(disclosures=["sketchs"])]}, "did you mean sketches?"),
    "disclosure twice": (
        {"models": [model(disclosures=["sketches", "sketches"])]},
        "sketches stands here twice",
    ),
    "both ends": ({"federation": {"expires": "2099-01-01"}}, "either lifetime_days or expires"),
    "an end in the past": (
        {"federation": {"expires": "2001-01-01", "lifetime_days": ...}},
        "the day is past",
    ),
    "threshold above the governors": ({"federation": {"threshold": 4}}, "4 of 3 governors cannot sign"),
    "nobody need sign": ({"federation": {"threshold": 0}}, "0 of 3 governors cannot sign"),
    "one key, two governors": (
        {
            "federation": {
                "governors": [
                    {"name": "alice", "keys": "governors/alice.pub"},
                    {"name": "bob", "keys": "governors/alice.pub"},
                ]
            }
        },
        "alice and bob have one key",
    ),
    "one name, two governors": (
        {
            "federation": {
                "governors": [
                    {"name": "alice", "keys": "governors/alice.pub"},
                    {"name": "alice", "keys": "governors/bob.pub"},
                ]
            }
        },
        "alice and alice have one name",
    ),
    "a governor who publishes": (
        {"federation": {"publisher": {"name": "publisher", "keys": "governors/alice.pub"}}},
        "alice and publisher have one key",
    ),
    "operator twice": (
        {"federation": {"operators": [{"name": "a", "key": "ab" * 32}, {"name": "b", "key": "ab" * 32}]}},
        "two operators have one key",
    ),
    "a base that is not there": ({"models": [model(base="other")]}, "there is no model 'other'"),
    "scaled by a model that counts nothing": (
        {"models": [model(plan={"scale_model": "model"})]},
        "no model with the task moments",
    ),
    "moments of other features": (
        {
            "models": [
                model(plan={"scale_model": "moments"}),
                model(model="moments", strategy="sum", plan={"task": "moments", "numeric": ["age"]}),
            ]
        },
        "models/model.yaml:1: moments has other features than model",
    ),
    "a score of other features": (
        {
            "models": [
                model(),
                model(
                    model="score",
                    strategy="sum",
                    base="model",
                    plan={"task": "cox-score", "grid": [30], "numeric": ["dose", "age"]},
                ),
            ]
        },
        "models/score.yaml:1: model has other features than score",
    ),
    "a column with two roles": (
        {"models": [model(plan={"numeric": ["age", "days"]})]},
        "'days' has two roles",
    ),
    "the column of the split": ({"models": [model(plan={"numeric": ["crimson_split"]})]}, "is reserved"),
    "levels out of order": (
        {"models": [model(plan={"categorical": [{"column": "sex", "levels": ["male", "female"]}]})]},
        "the first is the baseline",
    ),
    "no feature": ({"models": [model(plan={"numeric": [], "categorical": []})]}, "no feature is left"),
    "no step": ({"models": [model(plan={"steps": 0})]}, "needs steps and a learning_rate"),
    "no grid": ({"models": [model(base="model", plan={"task": "cox-score"})]}, "needs a grid"),
    "a score of nothing": (
        {"models": [model(plan={"task": "hazard-score"})]},
        "needs the model that it scores",
    ),
    "batches of risk sets": ({"models": [model(plan={"batch": 16})]}, "takes no batches"),
    "momentum of a sum": (
        {"models": [model(strategy="sum", plan={"task": "moments", "momentum": Plain("0.5")})]},
        "takes no steps, and so no momentum",
    ),
    "momentum of one": ({"models": [model(plan={"momentum": 1})]}, "momentum_micro"),
    "a hazard without bins": ({"models": [model(plan={**HAZARD, "cuts": []})]}, "cuts, the upper ends"),
    "bins of a Cox regression": ({"models": [model(plan={"cuts": [30]})]}, "belong to the tasks hazard"),
    "bins that go back": (
        {"models": [model(plan={**HAZARD, "cuts": [30, 20]})]},
        "times of cuts must ascend",
    ),
    "a bin of no time": ({"models": [model(plan={**HAZARD, "cuts": [0, 20]})]}, "begin above 0"),
    "a deep Cox regression": ({"models": [model(plan={"hidden": [8]})]}, "is linear"),
    "an empty layer": ({"models": [model(plan={**HAZARD, "hidden": [8, 0]})]}, "at least one unit"),
    "a range too few": (
        {"models": [model(plan={"ranges": [{"low": 0, "high": 1}]})]},
        "1 ranges for 2 numeric columns",
    ),
    "a range of nothing": (
        {"models": [model(plan={"ranges": [{"low": 0, "high": 1}, {"low": 2, "high": 2}]})]},
        "low must be below high",
    ),
    "scaled twice": (
        {
            "models": [
                model(plan={"scale_model": "moments", "ranges": [{"low": 0, "high": 1}] * 2}),
                model(model="moments", strategy="sum", plan={"task": "moments"}),
            ]
        },
        "either by public ranges or by another",
    ),
    "a Cox score of a hazard": (
        {"models": [model(plan=HAZARD), score(task="cox-score", grid=[30])]},
        "cox-score scores a model with the task cox",
    ),
    "a score in other bins": (
        {
            "models": [
                model(plan=HAZARD),
                score(**{**HAZARD, "task": "hazard-score", "cuts": [30], "grid": [9]}),
            ]
        },
        "model has other cuts: write the same",
    ),
    "a score with other layers": (
        {
            "models": [
                model(plan=HAZARD),
                score(**{**HAZARD, "task": "hazard-score", "hidden": [4], "grid": [9]}),
            ]
        },
        "model has another hidden: write the same",
    ),
    "an alternative that is the strategy": ({"models": [model(alternatives=["fedavg"])]}, "is named twice"),
    "an alternative that changes nodes": (
        {"models": [model(alternatives=["fednova"])]},
        "is none of fedavg,",
    ),
    "a budget for no rounds and no noise": (
        {"models": [private({"unit": "node", "epsilon": 8, "delta_exponent": 3})]},
        "write releases, how many rounds",
    ),
    "U21 more releases than the budget affords": (
        {"models": [private({**NODE, "releases": 40}, numbers={"noise": 20})]},
        "40 releases cost epsilon ",
    ),
    "noise that neither nodes nor releases tell": (
        {"models": [private({**RECORD, "noise": "nodes", "releases": None})]},
        "or privacy.step_noise",
    ),
    "U21 more local steps than the budget affords": (
        {"models": [private({**AT_NODES, "step_noise": 2, "releases": 4}, plan={"steps": 5})]},
        "4 releases cost epsilon 11.481, above the budget of 8.000: this noise affords 2",
    ),
    "noise beyond what nodes can draw": (
        {"models": [private({**AT_NODES, "releases": 2000}, plan={"steps": 5})]},
        "models/model.yaml:1: 10000 local steps need more noise in each than a node can draw",
    ),
    "noise nowhere": (
        {"models": [private({**RECORD, "noise": "node"})]},
        "privacy.noise: 'node' is none of release, buckets, nodes",
    ),
    "a radius in words": ({"models": [model(robust={"radius": "wide"})]}, "robust.radius: a plain decimal"),
    "a grid that goes back": (
        {"models": [model(base="model", plan={"task": "cox-score", "grid": [30, 20]})]},
        "must ascend",
    ),
    "beyond what a record holds": ({"models": [model(numbers={"ring_bits": 64})]}, "ring_bits"),
    "a name too long": ({"nodes": [node("n" * 65)]}, "1 to 64 bytes"),
    "a name that moves the cursor": ({"nodes": [node("n\u001b[2J")]}, "cannot be printed"),
}


def changed(source: SourceFolder, changes: dict) -> SourceFolder:
    """The source with other values; `...` takes one out."""
    for name, value in changes.items():
        if name == "federation":
            merged = {**source.federation, **value}
            source.federation = {key: item for key, item in merged.items() if item is not ...}
        else:
            setattr(source, name, value)
    return source.write()


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_value_is_refused_with_its_place(name, source, capfd):
    changes, told = FAULTS[name]
    answer = run(capfd, "lint", changed(source, changes).folder)
    assert told in answer.error["message"]
    assert (answer.code, answer.error["code"]) == (4, "bad-source")


def test_every_fault_of_a_file_is_told_at_once(source, capfd):
    text = "threshold: '2'\ngovernors: 3\nevidnce: {}\n"
    (source.folder / "federation.yaml").write_text(text)
    lines = run(capfd, "lint", source.folder).error["message"].splitlines()
    assert [line.split(":")[1] for line in lines] == ["3"]
    (source.folder / "federation.yaml").write_text(text.replace("evidnce", "evidence"))
    lines = run(capfd, "lint", source.folder).error["message"].splitlines()
    assert len(lines) > 4 and [int(line.split(":")[1]) for line in lines] == sorted(
        int(line.split(":")[1]) for line in lines
    )


@pytest.mark.parametrize("written", [{"releases": 2}, {"step_noise": 9}])
def test_noise_of_the_enclave_where_nodes_add_theirs_is_refused_at_its_line(written, source, capfd):
    found = private({**AT_NODES, "releases": None, **written}, numbers={"noise": 30})
    text = dumped(found).replace('"noise": 30', '\n"noise": 30')
    (source.folder / "models/model.yaml").write_text(text)
    answer = run(capfd, "lint", source.folder)
    assert (answer.code, answer.error["code"]) == (4, "bad-source")
    told = "models/model.yaml:2: the enclave adds no noise where nodes do: write privacy.step_noise"
    assert answer.error["message"].startswith(told)
    (source.folder / "models/model.yaml").write_text(text.replace('"noise": 30', '"noise": 0'))
    assert run(capfd, "lint", source.folder).code == 0


def test_names_may_look_like_anything(source):
    source.nodes = [node(name) for name in ("no", "012", "1e5", "null", "2027-01-01")]
    found = read_source(source.write().folder).roster.form.nodes
    assert [item.node for item in found] == ["no", "012", "1e5", "null", "2027-01-01"]
