"""A diff of two policies reads like a change request: who, what, and what follows from it."""

import pytest
from tests.governance.sources import (
    GOVERNORS,
    NODE,
    NOW,
    RECORD,
    Plain,
    SourceFolder,
    dual,
    model,
    node,
    private,
    run,
    site_keys,
)

from crimson_governance.changes.knobs import KNOBS
from crimson_governance.changes.of_policy import Edition, groups_of_changes
from crimson_governance.compiler import compile_source
from crimson_governance.parties import parties_of
from crimson_governance.source.folder import read_source
from crimson_protocol.words import fingerprint


def edition(source: SourceFolder, serial: int = 1) -> Edition:
    read = read_source(source.write().folder)
    return Edition(f"policy {serial}", compile_source(read, serial, NOW).policy, parties_of(read))


def told(old: Edition, new: Edition) -> dict[str, list[str]]:
    """The lines of every group."""
    return {
        part.title: [change.line() for change in part.changes] + list(part.text)
        for part in groups_of_changes(old, new)
    }


def test_nothing_changes(source):
    assert groups_of_changes(edition(source), edition(source)) == []


def test_nodes_join_leave_and_change_keys_with_their_words(source):
    old = edition(source)
    source.nodes += [node("newcomer")]
    source.nodes[1]["status"] = "revoked"
    source.nodes[2] = {**node("fresh"), "node": "site-2", "organisation": "organisation of site-2"}
    lines = told(old, edition(source))["Nodes"]
    words = {
        name: " ".join(fingerprint(*(key.public for key in site_keys(name))))
        for name in ("newcomer", "fresh", "site-2")
    }
    assert lines == [
        "~ site-1: active → revoked — may never take part again under these keys",
        f"~ site-2 changes its keys: {words['site-2']} → {words['fresh']} — compare the words by phone; the old keys "
        "are refused from then on",
        f"+ newcomer (organisation of newcomer, hospital) joins, active: {words['newcomer']} — may take part",
    ]


NUMBERS = {
    "clip": ({"numbers": {"clip": Plain("8.5")}}, "~ clip: 8 → 8.5 — one site's update may be longer"),
    "clip down": ({"numbers": {"clip": Plain("0.25")}}, "~ clip: 8 → 0.25 — longer updates are shortened"),
    "least cohort": ({"numbers": {"min_cohort": 5}}, "~ least cohort: 4 → 5 — each site hides among more"),
    "corrupt": ({"numbers": {"corrupt": "1/10"}}, "~ corrupt share: 1/5 → 1/10 — fewer colluding nodes"),
    "weight cap": (
        {"numbers": {"weight_cap": 64}},
        "~ weight cap: 16 → 64 — a large site may count for more",
    ),
    "buckets": (
        {"numbers": {"bucket_size": 4}},
        "~ bucket size: the whole cohort → 4 nodes — the enclave sees",
    ),
    "ring": ({"numbers": {"ring_bits": 24}}, "~ ring bits: 32 bits → 24 bits — nodes send fewer bytes"),
    "strategy": ({"strategy": "fedprox"}, "~ strategy: fedavg → fedprox — the released model"),
    "steps": ({"plan": {"steps": 9}}, "~ steps: 5 → 9 — sites move further"),
    "rate": ({"plan": {"learning_rate": Plain("0.125")}}, "~ learning rate: 0.5 → 0.125 — steps are shorter"),
    "weights": ({"plan": {"weights": "equal"}}, "~ weights: rows → equal — sites count"),
    "a column more": (
        {"plan": {"numeric": ["age", "dose", "ferritin"]}},
        "+ feature ferritin: a number — the nodes read",
    ),
    "a column less": ({"plan": {"numeric": ["age"]}}, "- feature dose: a number"),
    "another level": (
        {"plan": {"categorical": [{"column": "sex", "levels": ["female", "male", "other"]}]}},
        "~ feature sex: levels female, male → levels female, male, other",
    ),
    "another order": ({"plan": {"numeric": ["dose", "age"]}}, "~ order of the features — coefficients"),
    "disclosure": (
        {"disclosures": ["sketches"]},
        "+ discloses sketches — the enclave sees a compressed sketch",
    ),
    "alternatives": (
        {"alternatives": ["fedadam", "fedavgm"]},
        "~ alternatives: none → fedadam and fedavgm — operators choose",
    ),
    "server rate": ({"server": {"rate": 3}}, "~ server learning rate: 1 → 3 — each round moves"),
    "robust rule": ({"robust": {"rule": "median"}}, "~ robust rule: none → median — bad updates"),
    "mixing": ({"robust": {"mixing": True}}, "~ mixing: no → yes — values are averaged"),
    "steps cap": ({"numbers": {"steps_cap": 40}}, "~ cap on steps: 0 → 40 — a site may claim more"),
    "batch": ({"plan": {"task": "hazard", "cuts": [30], "batch": 32}}, "~ batch: all rows → 32 rows"),
    "bins": ({"plan": {"task": "hazard", "cuts": [30, 60]}}, "~ time bins: none → 30 and 60 — the model is"),
    "hidden": (
        {"plan": {"task": "hazard", "cuts": [30], "hidden": [16, 8]}},
        "~ hidden layers: none → 16 and 8",
    ),
    "proximal": ({"plan": {"proximal": Plain("0.01")}}, "~ proximal weight: 0 → 0.01 — sites stay closer"),
    "momentum": ({"plan": {"momentum": Plain("0.9")}}, "~ momentum of local steps: 0 → 0.9 — sites move"),
    "losses": ({"plan": {"losses": False}}, "~ losses: yes → no — updates carry no loss"),
    "ranges": (
        {"plan": {"ranges": [{"low": -1, "high": 120}, {"low": 0, "high": Plain("2.5")}]}},
        "~ range of age: none → -1 to 120 — it is scaled",
    ),
    "sketches": (
        {"sketch": {"buckets": 64, "every": 5}},
        "~ sketch every so many rounds: none → 5 — how often",
    ),
}
BUDGETS = {
    "epsilon": ({"epsilon": Plain("7.5")}, "~ privacy budget epsilon: 8 → 7.5 — less may be learnt"),
    "releases": ({"releases": 20}, "~ releases: 10 → 20 — more rounds"),
    "noise of more releases": ({"releases": 20}, "~ noise: "),
    "delta": ({"delta_exponent": 4}, "~ privacy delta: 10^-3 → 10^-4 — the guarantee fails less often"),
    "buckets": (
        {"noise": "buckets"},
        "~ where noise enters: once, on the result → on every bucket's sum — fewer see anything without",
    ),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_stands_with_its_consequence(name, source):
    old = edition(source)
    changes, line = NUMBERS[name]
    source.models = [model(**changes)]
    lines = told(old, edition(source))["Model model"]
    assert any(text.startswith(line) for text in lines), lines


@pytest.mark.parametrize("name", BUDGETS)
def test_a_budget_stands_with_its_consequence(name, source):
    source.models = [private(NODE)]
    old = edition(source)
    changes, line = BUDGETS[name]
    source.models = [private({**NODE, **changes})]
    lines = told(old, edition(source))["Model model"]
    assert any(text.startswith(line) for text in lines), lines


def test_noise_that_moves_to_the_nodes_is_told_with_its_price(source):
    source.models = [private({**RECORD, "sampling": 1})]
    old = edition(source)
    source.models = [private({**RECORD, "sampling": 1, "noise": "nodes"}, plan={"steps": 5})]
    lines = told(old, edition(source))["Model model"]
    for line in (
        "~ where noise enters: once, on the result → at each node — fewer see anything without",
        "~ noise of a local step: none → ",
        "~ local steps of a release: none → 5 — each of them is charged",
    ):
        assert any(text.startswith(line) for text in lines), (line, lines)
    (of_enclave,) = [text for text in lines if text.startswith("~ noise: ")]
    assert of_enclave.endswith(" → none — the enclave adds none any more")


def test_noise_that_comes_back_from_the_nodes_is_told_with_its_price(source):
    at_nodes = {**RECORD, "sampling": 1, "noise": "nodes"}
    source.models = [private(at_nodes, plan={"steps": 5})]
    old = edition(source)
    source.models = [private({**RECORD, "sampling": 1})]
    lines = told(old, edition(source))["Model model"]
    for line in (
        "~ noise: none → ",
        "~ where noise enters: at each node → once, on the result — there is less noise in all",
        "~ local steps of a release: 5 → none — a release is charged once",
    ):
        assert any(text.startswith(line) for text in lines), (line, lines)
    assert any(text.endswith("→ none — sites add no noise of their own any more") for text in lines)


def test_other_noise_of_other_local_steps_is_told(source):
    at_nodes = {**RECORD, "sampling": 1, "noise": "nodes", "releases": 1, "epsilon": 100}
    source.models = [private({**at_nodes, "step_noise": 2}, plan={"steps": 5})]
    old = edition(source)
    source.models = [private({**at_nodes, "step_noise": 1}, plan={"steps": 6})]
    lines = told(old, edition(source))["Model model"]
    assert (
        "~ noise of a local step: 2 → 1 — what a site sends is less noisy and tells more of any one record"
        in lines
    )
    assert "~ local steps of a release: 5 → 6 — a release costs more of the budget" in lines
    assert not any(text.startswith(("~ noise: ", "~ where")) for text in lines)


def test_a_first_budget_is_told_whole(source):
    source.models = [private(NODE)]
    del source.models[0]["privacy"]
    old = edition(source)
    source.models = [private(NODE)]
    lines = told(old, edition(source))["Model model"]
    assert "~ privacy unit: none → node — a budget protects each of these from now on" in lines
    assert "~ privacy budget epsilon: none → 8 — the budget that is charged from now on" in lines
    assert "~ releases: none → 10 — so many rounds, and then the budget is spent" in lines


def test_buckets_are_drawn_anew(source):
    old = edition(source)
    source.federation["regrouping"] = 1
    (line,) = told(old, edition(source))["Federation"]
    assert line.startswith("~ regrouping: 0 → 1 — every bucket is drawn anew")


def test_every_change_of_a_number_has_a_consequence(source):
    assert all(knob.less for knob in KNOBS)


def test_models_come_and_go(source):
    old = edition(source)
    source.models = [model(model="other")]
    found = told(old, edition(source))
    assert found["Model model"] == ["- the model — no more rounds; released models stay"]
    assert found["Model other"][0].startswith("+ a new model: task cox on 3 features; moves the model by")


def test_access_rules_are_shown_as_text(source):
    old = edition(source)
    source.access = source.access.replace("context.accepted >= 3", "context.accepted >= 5")
    found = told(old, edition(source))
    assert list(found) == ["Access rules"]
    assert "-when { context.accepted >= 3 };" in found["Access rules"]
    assert "+when { context.accepted >= 5 };" in found["Access rules"]


def test_governors_operators_evidence_and_ends(source):
    old = edition(source)
    source.federation |= {
        "governors": [{"name": name, "keys": f"governors/{name}.pub"} for name in (*GOVERNORS[:2], "dora")],
        "threshold": 1,
        "operators": [{"name": "operations", "key": "cd" * 32, "roles": ["rounds"]}],
        "enrolment": {"approvals": 2, "kinds": ["hospital"]},
        "lifetime_days": 30,
        "reopens": [{"model": "model", "round": 7, "model_digest": "00" * 32}],
    }
    source.federation["evidence"] = {
        **source.federation["evidence"],
        "measurements": ["ee" * 32],
        "measures": ["seccomp"],
    }
    found = told(old, edition(source, 2))
    dora = dual("dora").public
    assert (
        f"+ dora: {' '.join(fingerprint(dora.ed25519, dora.mldsa65))} — may sign from now on"
        in found["Governors"]
    )
    assert "- carol — may not sign any more" in found["Governors"]
    assert "~ threshold: 2 → 1 — fewer governors can change everything" in found["Governors"]
    assert any("operations, key" in line for line in found["Operators"])
    assert (
        "~ operations, roles: backend and rounds → rounds — access rules decide by role" in found["Operators"]
    )
    assert found["How nodes join"] == [
        "~ approvals: 1 → 2 — operators that must have compared a node's words before governors are asked",
        "- kind of node blood_bank — may not be admitted",
    ]
    assert any("+ enclave " + "ee" * 32 in line for line in found["What an enclave must prove"])
    assert "+ measure seccomp — an enclave must hold it" in found["What an enclave must prove"]
    assert found["Reopened rounds"] == [
        "+ round 7 of model — may be run again: its result was never released"
    ]
    assert found["Validity"][0] == "~ version: 1 → 2"
    assert found["Validity"][1].startswith("~ expires: 2027-04-15")


def test_a_governor_who_changes_keys_is_named_with_the_words(source):
    old = edition(source)
    source.federation["governors"][0] = {"name": "alice", "keys": "governors/alice-2.pub"}
    (line,) = told(old, edition(source))["Governors"]
    assert line.startswith("~ alice changes keys: ") and line.endswith("compare the words by phone")


def test_a_node_that_vanished_is_pointed_out(source):
    old = edition(source)
    source.nodes, source.models = source.nodes[1:], source.models
    assert (
        "- site-0 is gone from the roster — refused: a node is revoked, never removed"
        in told(old, edition(source))["Nodes"]
    )


def test_the_command_shows_two_folders(source, capfd, tmp_path):
    other = SourceFolder(tmp_path / "other")
    other.models = [model(numbers={"min_cohort": 5})]
    answer = run(capfd, "diff", source.folder, other.write().folder)
    groups = {part["title"]: part["changes"] for part in answer.data["groups"]}
    (change,) = groups["Model model"]
    assert (change["kind"], change["what"], change["before"], change["after"]) == (
        "changed",
        "least cohort",
        "4",
        "5",
    )
