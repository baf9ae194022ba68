"""fl_config.json and FL_*: flag over variable over file over default; nothing unknown, nothing in the clear."""

import json

import pytest

from crimson_protocol.errors import PolicyRefusal
from crimson_protocol.launcher import main
from crimson_simulation.options import BadOption
from crimson_simulation.settings import option_defaults, read_settings

DOCUMENTED = {
    "server_host": "0.0.0.0",
    "server_port": 8080,
    "num_rounds": 15,
    "min_fit_clients": 2,
    "min_evaluate_clients": 2,
    "min_available_clients": 2,
    "enable_differential_privacy": True,
    "dp_epsilon": 1.0,
    "dp_delta": 1e-5,
    "dp_noise_multiplier": 1.1,
    "model_type": "survival_analysis",
    "aggregation_strategy": "fedavg",
    "enable_encryption": True,
    "log_level": "INFO",
    "max_concurrent_clients": 10,
    "batch_size": 32,
    "learning_rate": 0.01,
}


def written(tmp_path, values):
    path = tmp_path / "fl_config.json"
    path.write_text(json.dumps(values))
    return path


def test_the_documented_file_is_read_whole(tmp_path):
    settings = read_settings({}, written(tmp_path, DOCUMENTED))
    assert all(settings[name].origin.endswith("fl_config.json") for name in DOCUMENTED)
    expected = {"rounds": 15, "epsilon": 1.0, "delta": 1e-5, "model": "survival", "strategy": "fedavg"}
    assert option_defaults(settings) == {**expected, "learning_rate": 0.01, "dp": "record"}


def test_a_variable_overrides_the_file(tmp_path):
    path = written(tmp_path, {"num_rounds": 15, "learning_rate": 0.2})
    settings = read_settings({"FL_NUM_ROUNDS": "7", "HOME": "/"}, path)
    assert (settings["num_rounds"].value, settings["num_rounds"].origin) == (7, "FL_NUM_ROUNDS")
    assert settings["learning_rate"].value == 0.2


@pytest.mark.parametrize(
    "environment", [{"FL_NUM_ROUND": "3"}, {"FL_NUM_ROUNDS": "three"}, {"FL_ENABLE_DP": "maybe"}]
)
def test_unknown_and_unreadable_variables_are_named(tmp_path, environment):
    with pytest.raises(BadOption) as caught:
        read_settings(environment, tmp_path / "none.json")
    assert "num_rounds" in str(caught.value).lower() + caught.value.hint.lower() or "enable_diff" in str(
        caught.value
    )


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"num_round": 3}', '{"num_rounds": null}', '{"num_rounds": [1]}']
)
def test_files_that_cannot_be_used(tmp_path, text):
    path = tmp_path / "fl_config.json"
    path.write_text(text)
    with pytest.raises(BadOption):
        read_settings({}, path)


def test_encryption_cannot_be_switched_off(tmp_path):
    with pytest.raises(PolicyRefusal):
        read_settings({"FL_ENABLE_ENCRYPTION": "false"}, tmp_path / "none.json")


def test_commands_follow_the_settings(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FL_NUM_ROUNDS", "9")
    assert main(["config", "show", "--json"]) == 0
    shown = json.loads(capfd.readouterr().out)["data"]
    assert shown["num_rounds"] == {"value": 9, "origin": "FL_NUM_ROUNDS"}
    assert main(["config", "show", "--origin"]) == 0
    assert "FL_NUM_ROUNDS" in capfd.readouterr().out
    rows = "\n".join(f"{'ABCD'[row % 4]},{1 + row % 9},{row % 2},{row}" for row in range(24))
    (tmp_path / "units.csv").write_text(f"site,time,event,age\n{rows}\n")
    train = [
        "train",
        "--data",
        "units.csv",
        "--site-column",
        "site",
        "--time-column",
        "time",
        "--event-column",
        "event",
    ]
    assert main([*train, "--dry-run", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["data"]["rounds"] == 9
    assert main([*train, "--dry-run", "--json", "--rounds", "2"]) == 0
    assert json.loads(capfd.readouterr().out)["data"]["rounds"] == 2
    monkeypatch.setenv("FL_ENABLE_ENCRYPTION", "false")
    assert main([*train, "--dry-run", "--json"]) == 5
