"""What `crimson policy init`, `key`, `lint`, `explain` and `show` print, write and refuse."""

import stat
from fractions import Fraction
from math import exp, sqrt
from pathlib import Path

import pytest
from scipy.optimize import brentq
from scipy.stats import norm
from tests.governance.sources import (
    NODE,
    RECORD,
    Answer,
    Plain,
    SourceFolder,
    dual,
    model,
    node,
    private,
    run,
)

from crimson_governance.commands import main
from crimson_governance.figures import odds_in_words
from crimson_governance.files import read_private_key
from crimson_governance.public_files import read_public
from crimson_governance.source.folder import read_source
from crimson_protocol.secret.key_files import to_pem
from crimson_protocol.words import fingerprint

ROOT = Path(__file__).parents[2]


def init(capfd, folder: Path, *more: object) -> Answer:
    usual = ("--federation", "north", "--governors", "alice,bob,carol", "--threshold", 2)
    return run(capfd, "init", folder, *usual, *more)


def test_init_makes_a_source_that_is_sound(tmp_path, capfd):
    (tmp_path / "root.pub").write_bytes(dual("root").public.to_bytes())
    more = ("--keys-dir", tmp_path / "keys", "--operator", "ops=" + "ab" * 32, "--measurement", "cd" * 32)
    answer = init(capfd, tmp_path / "policies", *more, "--sim-root", tmp_path / "root.pub")
    assert answer.code == 0 and not answer.data["missing"]
    report = run(capfd, "lint", tmp_path / "policies")
    assert report.code == 0 and report.envelope["warnings"] == []
    source = read_source(tmp_path / "policies")
    assert source.federation.form.operators[0].roles == ["backend", "rounds"]
    assert read_public("root", source.files["evidence/root-1.pub"]) == dual("root").public
    for name in ("alice", "bob", "carol", "publisher"):
        private = tmp_path / "keys" / f"{name}.pem"
        assert stat.S_IMODE(private.stat().st_mode) == 0o600
        public = read_public(name, source.files[f"governors/{name}.pub"])
        assert read_private_key(private).public == public
    assert not [path for path in (tmp_path / "policies").rglob("*") if path.suffix == ".pem"]


def test_the_examples_that_init_writes_are_sound(tmp_path, capfd):
    init(capfd, tmp_path / "policies", "--keys-dir", tmp_path / "keys")
    other = SourceFolder(tmp_path / "other").write()
    (tmp_path / "policies/roster.yaml").write_bytes((other.folder / "roster.yaml").read_bytes())
    for path in (tmp_path / "policies/examples").iterdir():
        path.rename(tmp_path / "policies/models" / path.name)
    answer = run(capfd, "lint", tmp_path / "policies")
    assert answer.code == 0 and len(answer.data["models"]) == 4


def test_init_without_keys_names_what_is_missing_and_governors_make_their_own(tmp_path, capfd):
    folder = tmp_path / "policies"
    answer = init(capfd, folder)
    assert answer.data["missing"] == [
        f"governors/{name}.pub" for name in ("alice", "bob", "carol", "publisher")
    ]
    assert run(capfd, "lint", folder).code == 4
    for name in ("alice", "bob", "carol", "publisher"):
        made = run(capfd, "key", "new", name, "--out", tmp_path / "far" / name / "key.pem").data
        public = read_public(name, Path(made["public"]).read_bytes())
        assert made["words"] == " ".join(fingerprint(public.ed25519, public.mldsa65))
        Path(made["public"]).rename(folder / "governors" / f"{name}.pub")
    assert run(capfd, "lint", folder).code == 0


BAD = {
    "a threshold above the governors": (("--threshold", 4), "bad-threshold"),
    "nobody signs": (("--threshold", 0), "bad-threshold"),
    "a governor twice": (("--governors", "alice,alice"), "bad-name"),
    "a governor who publishes": (("--publisher", "alice"), "bad-name"),
    "a name that leads elsewhere": (("--governors", "../alice"), "bad-name"),
    "an operator without a key": (("--operator", "ops"), "bad-operator"),
    "an operator with a short key": (("--operator", "ops=abcd"), "bad-operator"),
    "no name": (("--federation", " "), "bad-name"),
    "no governor": (("--governors", ","), "bad-threshold"),
}


@pytest.mark.parametrize("name", BAD)
def test_init_refuses_and_writes_nothing(name, tmp_path, capfd):
    options, code = BAD[name]
    answer = init(capfd, tmp_path / "policies", "--keys-dir", tmp_path / "keys", *options)
    assert (answer.code, answer.error["code"]) == (4, code)
    assert not (tmp_path / "policies").exists() and not (tmp_path / "keys").exists()


def test_init_never_writes_over_a_source_or_a_key(tmp_path, capfd):
    assert init(capfd, tmp_path / "policies", "--keys-dir", tmp_path / "keys").code == 0
    assert init(capfd, tmp_path / "policies").error["code"] == "source-exists"
    again = init(capfd, tmp_path / "others", "--keys-dir", tmp_path / "keys")
    assert again.error["code"] == "key-exists" and not (tmp_path / "others").exists()


def test_private_keys_never_lie_in_the_source(tmp_path, capfd):
    answer = init(capfd, tmp_path / "policies", "--keys-dir", tmp_path / "policies" / "keys")
    assert (answer.code, answer.error["code"]) == (4, "private-key-in-source")
    assert not (tmp_path / "policies").exists()
    (tmp_path / "root.pem").write_bytes(to_pem(dual("root")))
    answer = init(capfd, tmp_path / "policies", "--sim-root", tmp_path / "root.pem")
    assert (answer.code, answer.error["code"]) == (4, "private-key-in-source")


def test_a_key_is_never_written_over(tmp_path, capfd):
    assert run(capfd, "key", "new", "alice", "--out", tmp_path / "alice.pem").code == 0
    before = (tmp_path / "alice.pem").read_bytes()
    assert run(capfd, "key", "new", "alice", "--out", tmp_path / "alice.pem").error["code"] == "key-exists"
    (tmp_path / "alice.pub").unlink()
    assert run(capfd, "key", "new", "alice", "--out", tmp_path / "alice.pem").error["code"] == "key-exists"
    assert (tmp_path / "alice.pem").read_bytes() == before


def test_the_public_half_of_a_key(tmp_path, capfd):
    (tmp_path / "root.pem").write_bytes(to_pem(dual("root")))
    (tmp_path / "root.pem").chmod(0o600)
    assert run(capfd, "key", "public", tmp_path / "root.pem", "--out", tmp_path / "root.pub").code == 0
    assert read_public("root", (tmp_path / "root.pub").read_bytes()) == dual("root").public


def test_a_private_key_that_others_can_read_is_not_used(tmp_path, capfd):
    (tmp_path / "root.pem").write_bytes(to_pem(dual("root")))
    (tmp_path / "root.pem").chmod(0o640)
    answer = run(capfd, "key", "public", tmp_path / "root.pem", "--out", tmp_path / "root.pub")
    assert (answer.code, answer.error["code"]) == (4, "exposed-key")
    assert answer.error["hint"].startswith("chmod 600")


def test_no_secret_is_ever_printed(tmp_path, capfd):
    for argv in (
        ("key", "new", "alice", "--out", tmp_path / "alice.pem"),
        ("key", "public", tmp_path / "alice.pem", "--out", tmp_path / "a.pub"),
        ("key", "public", tmp_path / "alice.pub", "--out", tmp_path / "a.pub"),
    ):
        main([*map(str, argv)])
    shown = "".join(capfd.readouterr())
    assert "PRIVATE" not in shown and read_private_key(tmp_path / "alice.pem").reveal().hex() not in shown


def test_lint_prints_the_numbers_of_a_cohort(source, capfd):
    """n, c, t and q as in the table of docs/PROTOCOL.md."""
    source.nodes = [node(f"site-{index}") for index in range(12)]
    source.models = [model(numbers={"min_cohort": 5})]
    (found,) = run(capfd, "lint", source.write().folder).data["models"]
    assert found["cohorts"][0] == {
        "n": 12,
        "corrupt": 2,
        "threshold": 8,
        "quorum": 8,
        "least": 5,
        "drops": 4,
        "drops_beside_refusals": 2,
        "dense": True,
    }
    assert found["buckets"] is None and found["privacy"] is None
    main(["lint", str(source.folder)])
    assert "may drop" in capfd.readouterr().out


def test_lint_prints_how_likely_a_bucket_is_too_corrupt(source, capfd):
    source.nodes = [node(f"site-{index}") for index in range(12)]
    source.models = [model(numbers={"bucket_size": 4, "min_cohort": 5})]
    (found,) = run(capfd, "lint", source.write().folder).data["models"]
    # Two of twelve are corrupt; a bucket of four allows for one. Both in one of three: 3 * C(10,2) / C(12,4).
    exact = Fraction(3 * 45, 495)
    odds = found["buckets"]["odds"]
    assert Fraction(odds["numerator"], odds["denominator"]) == exact
    assert odds["words"] == "27 in 100"
    assert found["buckets"]["floor"] == 4
    assert any(
        "more corrupt nodes than it allows for" in text
        for text in run(capfd, "lint", source.folder).envelope["warnings"]
    )


def test_odds_in_words():
    words = {
        Fraction(0): "never",
        Fraction(1): "always possible",
        Fraction(1, 3): "33 in 100",
        Fraction(1, 12345): "1 in 12,345",
    }
    assert {odds: odds_in_words(odds) for odds in words} == words


SKETCHED = model(
    robust={"rule": "sketch-filter", "tolerance": 1},
    sketch={"buckets": 64},
    plan={"numeric": [f"x{index}" for index in range(1023)], "losses": False},
    disclosures=["simulated", "sketches"],
)
WARNINGS = {
    "not live where the corrupt refuse": (
        {"models": [model(numbers={"corrupt": "1/3", "min_cohort": 5})]},
        "not live if the 2 corrupt nodes also refuse",
    ),
    "simulated": ({}, "SIMULATED"),
    "no isolation": ({}, "no measure of isolation"),
    "buckets that nobody compares": (
        {"models": [model(numbers={"bucket_size": 3}, disclosures=["small-buckets"])]},
        "no robust rule makes use of them",
    ),
    "a rule that bears nobody": (
        {
            "models": [
                model(
                    robust={"rule": "median"},
                    numbers={"bucket_size": 2},
                    disclosures=["small-buckets"],
                )
            ]
        },
        "median is asked to bear no bad value",
    ),
    "sketches that show much": (
        {"models": [SKETCHED]},
        "sketches show a tenth of an update after 2 rounds; after 4 rounds rounds end in a refusal",
    ),
    "sketches that leave out": ({"models": [SKETCHED]}, "honest ones may be among them"),
    "noise beyond all signal": (
        {"models": [private({**NODE, "epsilon": Plain("0.5")})]},
        "times as long as an update can be",
    ),
    "only nodes are protected": ({"models": [private(NODE)]}, "each node is protected as a whole"),
    "a disclosure": (
        {"models": [model(disclosures=["no-corruption"])]},
        "declares no-corruption: every node is trusted",
    ),
    "one signs alone": ({"threshold": 1}, "one governor alone"),
    "all must sign": ({"threshold": 3}, "one lost key"),
    "a policy for years": ({"lifetime_days": 800}, "the policy lasts 800 days"),
    "nobody starts": ({"operators": []}, "no operator may start its rounds"),
    "no enclave": ({"evidence": {"kinds": ["sim"], "measurements": []}}, "no enclave can prove itself"),
    "a release that is never allowed": (
        {"access": "context.accepted >= 7"},
        "the access rules deny the release",
    ),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_lint_warns(name, source, capfd):
    changes, told = WARNINGS[name]
    for key, value in changes.items():
        if key == "models":
            source.models = value
        elif key == "access":
            source.access = source.access.replace("context.accepted >= 3", value)
        else:
            source.federation[key] = value
    answer = run(capfd, "lint", source.write().folder)
    assert answer.code == 0
    assert any(told in text for text in answer.envelope["warnings"]), answer.envelope["warnings"]


def test_every_epsilon_stands_with_its_unit_delta_and_adjacency(source, capfd):
    """Epsilon of n Gaussian releases by the closed form of mu-GDP (Dong, Roth and Su 2022), mu = sqrt(n) / z."""
    source.models = [private({**NODE, "releases": 60}, numbers={"clip": 1})]
    (found,) = run(capfd, "lint", source.write().folder).data["models"]
    budget = found["privacy"]
    assert (budget["unit"], budget["adjacency"], budget["delta_exponent"]) == ("node", "zero-out", 3)
    assert budget["afforded"] == budget["releases"] == 60
    assert [count for count, _ in budget["costs"]] == [1, 10, 50, 60]
    for count, epsilon in budget["costs"]:
        mu = sqrt(count) / (budget["multiplier_micro"] / 1e6)
        closed = brentq(lambda value, mu=mu: delta_of(value, mu) - 1e-3, 0, 50)
        assert closed <= epsilon / 1000 <= closed + 0.003
    words = [text for text in found["words"] if "psilon" in text]
    assert words and all("for each node, delta 10^-3, zero-out" in text for text in words)
    main(["lint", str(source.folder)])
    assert "this noise affords 60" in capfd.readouterr().out


def delta_of(epsilon: float, mu: float) -> float:
    return norm.cdf(-epsilon / mu + mu / 2) - exp(epsilon) * norm.cdf(-epsilon / mu - mu / 2)


def test_noise_is_compared_with_the_longest_update(source, capfd):
    """sigma sqrt(d) / (clip n), six nodes and six parameters: three features and three bins."""
    source.models = [private({**NODE, "releases": 1}, numbers={"clip": 4, "noise": 6})]
    answer = run(capfd, "lint", source.write().folder)
    (found,) = answer.data["models"]
    assert found["privacy"]["noise_to_signal"] == pytest.approx(6 * sqrt(6) / (4 * 6))
    assert not any("as long as an update" in text for text in answer.envelope["warnings"])
    source.models = [private({**NODE, "releases": 1}, numbers={"clip": 4, "noise": 10})]
    answer = run(capfd, "lint", source.write().folder)
    assert any("1.02 times as long as an update" in text for text in answer.envelope["warnings"])


def test_a_delta_that_could_show_one_record_whole_is_warned_of(source, capfd):
    few = {**RECORD, "sampling": 1, "releases": 1, "divisor": 99_999}
    source.models = [private(few)]
    assert not delta_warnings(run(capfd, "lint", source.write().folder))
    source.models = [private({**few, "divisor": 100_000})]
    (warning,) = delta_warnings(run(capfd, "lint", source.write().folder))
    assert "delta 10^-5 is not below 1 in 100000, the records that it protects" in warning


def delta_warnings(answer: Answer) -> list[str]:
    assert answer.code == 0, answer.error
    return [text for text in answer.envelope["warnings"] if "shown whole" in text]


def sentences(answer: Answer) -> dict[str, list[str]]:
    return {part["title"]: part["sentences"] for part in answer.data["sections"]}


def test_explain_tells_a_model_in_plain_words(source, capfd):
    told = sentences(run(capfd, "explain", source.folder))
    found = " ".join(told["Model model"])
    for part in (
        "trains a Cox regression",
        "time in 'days', events in 'died', and age, dose and sex (female, male)",
        "5 steps with learning rate 0.5",
        "the weighted mean of the nodes' updates",
        "Of 6 nodes, 1 may collude with a broken enclave and learn no single update",
        "opened over at least 4; 2 may drop out",
        "sees the sum over all accepted nodes, and no part of it",
        "no differential privacy",
        "allowed by release-sums-of-three",
    ):
        assert part in found
    assert "2 of alice, bob and carol must sign" in " ".join(told["Federation north, a draft"])
    assert "may start rounds of model" in " ".join(told["Operators"])
    assert "SIMULATED" in " ".join(told["The enclave"])


def test_explain_tells_strategy_filter_and_budget_in_plain_words(source, capfd):
    source.models = [
        private(
            {**NODE, "noise": "buckets"},
            strategy="fedadam",
            alternatives=["fedavg"],
            server={"momentum": Plain("0.9"), "second_moment": Plain("0.99"), "adaptivity": Plain("0.001")},
            robust={"rule": "trimmed-mean", "tolerance": 1, "mixing": True, "enclave_clip": True},
            numbers={"bucket_size": 2},
            disclosures=["small-buckets"],
            plan={
                "hidden": [16],
                "ranges": [{"low": 0, "high": 120}, {"low": Plain("-2.5"), "high": 5}],
                "momentum": Plain("0.9"),
                "batch": 32,
            },
        )
    ]
    found = " ".join(sentences(run(capfd, "explain", source.write().folder))["Model model"])
    for part in (
        "moves the model by Adam on the mean update",
        "instead: fedavg: it moves the model by the weighted mean",
        "momentum 0.9, second moment decay 0.99 and adaptivity 0.001",
        "compares 3 bucket means, and bears 1 bad ones; at most 1 could be borne",
        "replaced by the mean of its nearest neighbours",
        "longer than the clip are shortened",
        "a budget of epsilon 8 over all releases",
        "The policy promises 10 releases; this noise affords 10",
        "Noise is added to each bucket's sum",
        "Time is cut at 30, 90 and 365; hidden layers of 16 units",
        "scaled by public ranges: age from 0 to 120 and dose from -2.5 to 5",
        "1 pass with learning rate 1 and l2 0, 32 rows at a time",
        "have momentum 0.9",
        "carry no loss",
    ):
        assert part in found, part


def test_explain_tells_what_sketches_show_and_until_when(source, capfd):
    """64 of 1,024 numbers are 0.0625 of an update: 0.1 after two, and four make 0.25."""
    source.models = [SKETCHED]
    found = " ".join(sentences(run(capfd, "explain", source.write().folder))["Model model"])
    for part in (
        "a sketch of each update in 64 numbers, every round: 0.0625 of an update",
        "0.10 is reached in round 2",
        "after round 4 a sketch would show more than 0.25",
        "Nodes that the filter flags are left out",
        "compares 6 sketches, and bears 1 bad ones; at most 1 could be borne",
    ):
        assert part in found, part


def test_explain_tells_what_one_record_may_do(source, capfd):
    source.models = [private({**RECORD, "releases": 2})]
    found = " ".join(sentences(run(capfd, "explain", source.write().folder))["Model model"])
    for part in (
        "with probability 0.1, secretly; its share is at most 1 long, and the sum is divided by 100",
        "for each record, delta 10^-5, add-remove (one record more or less)",
        "one step, in the enclave",
    ):
        assert part in found, part


def test_explain_tells_what_the_enclave_sees_and_what_is_declared(source, capfd):
    source.models = [model(numbers={"bucket_size": 1}, disclosures=["simulated", "single-updates"])]
    found = " ".join(
        sentences(run(capfd, "explain", source.write().folder, "--model", "model"))["Model model"]
    )
    assert "sees each node's single update" in found
    assert "Declared: single-updates" in found


def test_explain_tells_what_a_node_may_do_and_by_which_rule(source, capfd):
    source.nodes[1]["status"] = "suspended"
    told = run(capfd, "explain", source.write().folder, "--node", "site-1")
    found = " ".join(sentences(told)["Node site-1"])
    assert "may not take part until the governors say so" in found
    assert "Joining: allowed by join-by-kind." in found
    assert "Training model: denied: forbidden by no-training-while-suspended." in found
    main(["explain", str(source.folder), "--node", "site-1"])
    assert "no-training-while-suspended" in capfd.readouterr().out


@pytest.mark.parametrize("option", ["--model", "--node"])
def test_explain_knows_no_such_model_or_node(option, source, capfd):
    answer = run(capfd, "explain", source.folder, option, "nobody")
    assert answer.code in (4, 5) and "nobody" in answer.error["message"]


def test_show_gives_the_facts_and_no_keys_to_forge(source, capfd):
    found = run(capfd, "show", source.folder).data
    assert [item["node"] for item in found["nodes"]] == [f"site-{index}" for index in range(6)]
    assert len(found["nodes"][0]["words"].split()) == 10
    assert found["threshold"] == 2 and found["anchor"] is None
    main(["show", str(source.folder)])
    assert "site-5" in capfd.readouterr().out


def test_the_budget_of_the_example_is_what_it_says(tmp_path, capfd):
    found = {item["model"]: item for item in run(capfd, "lint", ROOT / "policies").data["models"]}
    budget = found["hazard"]["privacy"]
    assert (budget["unit"], budget["releases"], budget["epsilon_thousandths"]) == ("record", 200, 4000)
    assert budget["afforded"] >= 200 and budget["costs"][-1][1] <= 4000
    assert budget["noise_to_signal"] < 0.1


def test_the_example_federation_is_sound(capfd):
    answer = run(capfd, "lint", ROOT / "policies")
    assert answer.code == 0 and len(answer.data["models"]) == 4


@pytest.mark.parametrize("path", ["nowhere", "README.md"])
def test_what_is_neither_source_nor_bundle_is_refused(path, capfd):
    for command in ("show", "explain"):
        assert run(capfd, command, ROOT / path).code in (4, 9)


def test_names_are_never_read_as_markup(source, capfd):
    source.nodes[0]["organisation"] = "[bold red]x[/bold red]"
    source.write()
    for command in ("show", "explain", "lint"):
        assert main([command, str(source.folder)]) == 0
    assert "[bold red]" in capfd.readouterr().out
