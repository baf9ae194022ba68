"""`crimson node`: what people and programs see, and how each command ends."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.node.certificates import Authority
from tests.node.federation import MOMENTS
from tests.node.proxies import ConnectProxy, InspectingProxy

from crimson_node.commands import main
from crimson_node.commands.options import chosen_home
from crimson_node.journal import read_journal
from crimson_node.outcome import BAD_INPUT, CONNECTION, FAILED, INTEGRITY_FAILED, INTERRUPTED, OK, TIMED_OUT
from crimson_node.seen import VectorSent
from crimson_node.settings import NodeSettings, read_settings

CRIMSON = Path(sys.executable).with_name("crimson")


def ran(capsys, *argv: str) -> tuple[int, dict]:
    """Exit code and envelope of one command."""
    code = main([*argv, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def played(federation):
    """A federation after one round, its nodes stopped."""
    one = federation()
    one.start()
    assert one.round(MOMENTS) == "released"
    one.relay.wait(lambda: all(node.said("round-over") for node in one.running.values()))
    one.relay.hush()
    one.stop()
    one.relay.requests.clear()
    return one


def test_status_shows_what_left_the_hospital(played, capsys):
    home = played.homes.home(0)
    code, envelope = ran(capsys, "status", "--home", str(home))
    data = envelope["data"]
    assert (code, envelope["ok"], data["policy"]["serial"]) == (OK, True, 1)
    sent = [entry for _, entry in read_journal(home / "journal").entries if isinstance(entry, VectorSent)]
    assert [(item["sha256"], item["bytes"]) for item in data["left_the_hospital"]] == [
        (entry.digest.hex(), entry.length) for entry in sent
    ]
    assert [(item["model"], item["round"], item["saved"]) for item in data["released"]] == [
        (MOMENTS, 1, True)
    ]
    assert main(["status", "--home", str(home)]) == OK
    assert "Left the hospital" in capsys.readouterr().out


def test_status_reads_beside_a_running_agent_and_changes_nothing(federation, capsys):
    one = federation()
    one.start(0)
    one.relay.wait(lambda: one.running[0].said("endorsed"))
    before = (one.homes.home(0) / "journal").read_bytes()
    code, _ = ran(capsys, "status", "--home", str(one.homes.home(0)))
    assert (code, (one.homes.home(0) / "journal").read_bytes()) == (OK, before)


def test_journal_verify_tells_a_torn_end_from_damage(played, capsys):
    path = played.homes.home(0) / "journal"
    whole = path.read_bytes()
    code, envelope = ran(capsys, "journal", "verify", "--home", str(path.parent))
    assert (code, envelope["data"]["torn_bytes"], envelope["warnings"]) == (OK, 0, [])
    path.write_bytes(whole[:-3])
    code, envelope = ran(capsys, "journal", "verify", "--home", str(path.parent))
    assert (code, envelope["data"]["torn_bytes"] > 0, len(envelope["warnings"])) == (OK, True, 1)
    path.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    code, envelope = ran(capsys, "journal", "verify", "--home", str(path.parent))
    assert (code, envelope["error"]["code"]) == (INTEGRITY_FAILED, "log-went-back")


def test_doctor_finds_a_healthy_node_healthy(played, capsys):
    code, envelope = ran(capsys, "doctor", "--home", str(played.homes.home(0)))
    results = {check["name"]: check["result"] for check in envelope["data"]["checks"]}
    assert (code, set(results.values())) == (OK, {"ok"})
    assert set(results) == {
        "permissions",
        "settings",
        "keys",
        "journal",
        "disk",
        "data",
        "proxy",
        "tls",
        "gateway",
        "clock",
    }
    # It proves nothing about who asks: no signed path was touched.
    assert not played.relay.requests
    assert main(["doctor", "--home", str(played.homes.home(0))]) == OK
    assert "TLSv1.3" in capsys.readouterr().out


def spoiled(capsys, home: Path) -> dict[str, dict]:
    """What doctor finds in a home that is not healthy, by check."""
    code, envelope = ran(capsys, "doctor", "--home", str(home))
    assert (code, envelope["ok"]) == (FAILED, False)
    assert all(check["hint"] for check in envelope["data"]["checks"] if check["result"] == "fail")
    return {check["name"]: check for check in envelope["data"]["checks"] if check["result"] != "ok"}


def test_doctor_names_open_keys_and_a_missing_file(played, capsys):
    home = played.homes.home(0)
    (home / "keys" / "identity.pem").chmod(0o644)
    (home / "site.csv").unlink()
    found = spoiled(capsys, home)
    assert set(found) == {"permissions", "keys", "data"}
    assert "chmod 600" in found["permissions"]["hint"]


def test_doctor_names_a_clock_that_is_off(played, capsys):
    played.relay.server.clock = lambda: time.time() + 601
    found = spoiled(capsys, played.homes.home(0))
    assert set(found) == {"clock"}
    assert "behind" in found["clock"]["detail"]


def test_doctor_names_a_proxy_that_refuses(played, capsys):
    with ConnectProxy(refuse=403) as proxy:
        home = played.write(0, proxy=proxy.url)
        found = spoiled(capsys, home)
    assert found["gateway"]["result"] == "fail"
    assert "403" in found["gateway"]["detail"]


def test_doctor_names_who_opens_tls(played, capsys, authority, tmp_path):
    hospital = Authority("hospital-inspection")
    with InspectingProxy(hospital, authority, tmp_path) as proxy:
        home = played.write(0, proxy=proxy.url)
        assert spoiled(capsys, home)["tls"]["result"] == "fail"
        home = played.write(0, proxy=proxy.url, inspection_ca_file="hospital.pem")
        (home / "hospital.pem").write_bytes(hospital.pem())
        code, envelope = ran(capsys, "doctor", "--home", str(home))
    assert (code, len(envelope["warnings"])) == (OK, 1)
    assert "hospital-inspection" in envelope["warnings"][0]


def test_doctor_on_nothing(capsys, tmp_path):
    found = spoiled(capsys, tmp_path / "nowhere")
    assert {found[name]["result"] for name in ("permissions", "settings", "keys")} == {"fail"}


@pytest.mark.parametrize(
    ("changes", "text", "hint"),
    [
        ({"gatway": "https://x"}, "unknown setting 'gatway'", "did you mean 'gateway'?"),
        ({"gateway": "http://x"}, "expected an https address", "gateway.example.org"),
        ({"gateway": "https://user@x/"}, "at most a port", "gateway.example.org"),
        ({"poll_seconds": 26}, "whole seconds from 1 to 25", "25"),
        ({"proxy": "socks5://user:hunter2@x"}, "expected an http address", "proxy.example.org"),
        ({"data": 7}, "expected a text", "site.csv"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(federation, capsys, changes, text, hint):
    home = federation().write(0, **changes)
    code, envelope = ran(capsys, "run", "--home", str(home))
    assert code == BAD_INPUT
    assert text in envelope["error"]["message"]
    assert hint in envelope["error"]["hint"]
    assert "hunter2" not in json.dumps(envelope)


def test_missing_and_broken_settings_are_named(federation, capsys):
    home = federation().write(0)
    for content, text in (('{"node": "site-0"}', "lacks 'gateway'"), ("[]", "no object"), ("{", "not JSON")):
        (home / "node.json").write_text(content)
        code, envelope = ran(capsys, "run", "--home", str(home))
        assert (code, text in envelope["error"]["message"]) == (BAD_INPUT, True)


def test_a_node_without_a_file_to_train_on_says_what_to_add(federation, capsys):
    home = federation().write(0, data=None)
    code, envelope = ran(capsys, "run", "--home", str(home))
    assert (code, '"data": ' in envelope["error"]["hint"]) == (BAD_INPUT, True)
    assert spoiled(capsys, home)["data"]["result"] == "fail"


def test_settings_are_written_as_they_are_read(tmp_path):
    known = NodeSettings(
        "https://gateway.example.org", "site-1", tmp_path / "a.csv", "north", tmp_path / "ca.pem"
    )
    (tmp_path / "node.json").write_bytes(known.rendered(tmp_path))
    assert read_settings(tmp_path) == known
    assert json.loads((tmp_path / "node.json").read_text())["ca_file"] == "ca.pem"


def test_paths_are_relative_to_the_home_and_a_password_never_shows(tmp_path):
    (tmp_path / "node.json").write_text(
        '{"gateway": "https://[::1]:8443", "node": "a", "data": "x/y.csv", "proxy": "http://u:Secret-71@p:1"}'
    )
    settings = read_settings(tmp_path)
    assert (settings.gateway, settings.data) == ("https://[::1]:8443", tmp_path / "x" / "y.csv")
    assert "Secret-71" not in repr(settings)
    assert isinstance(settings, NodeSettings)


def test_open_keys_are_not_used(federation, capsys):
    home = federation().write(0)
    (home / "keys").chmod(0o755)
    code, envelope = ran(capsys, "run", "--home", str(home))
    assert (code, envelope["error"]["code"]) == (BAD_INPUT, "exposed-files")


def test_another_key_in_place_of_a_nodes_is_named(federation, capsys):
    home = federation().write(0)
    (home / "keys" / "identity.pem").write_bytes((home / "keys" / "encryption.pem").read_bytes())
    code, envelope = ran(capsys, "run", "--home", str(home))
    assert (code, envelope["error"]["code"]) == (BAD_INPUT, "bad-key")


def test_a_file_that_is_no_authority_is_named(federation, capsys):
    home = federation().write(0)
    (home / "ca.pem").write_text("not a certificate")
    code, envelope = ran(capsys, "run", "--home", str(home))
    assert (code, envelope["error"]["code"]) == (BAD_INPUT, "bad-authority")


def test_patience_ends_a_run_without_a_gateway(federation, capsys):
    home = federation().homes.write(0, "https://127.0.0.1:1", ca_file=None)
    code, envelope = ran(capsys, "run", "--home", str(home), "--patience", "0.3")
    assert (code, envelope["error"]["code"]) == (CONNECTION, "unreachable")
    assert TIMED_OUT != CONNECTION


def test_bad_usage_is_code_4(capsys):
    code, envelope = ran(capsys, "run", "--bogus")
    assert (code, envelope["error"]["code"]) == (BAD_INPUT, "usage")


@pytest.mark.parametrize("command", ["join", "run", "status", "doctor", "journal", "leave"])
def test_help_has_examples(capsys, command):
    argv = [command, "verify", "--help"] if command == "journal" else [command, "--help"]
    assert main(argv) == OK
    assert "crimson node" in capsys.readouterr().out


def test_the_default_home(monkeypatch, tmp_path):
    monkeypatch.setenv("CRIMSON_HOME", str(tmp_path))
    assert chosen_home(None) == tmp_path / "node"
    monkeypatch.delenv("CRIMSON_HOME")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert chosen_home(None) == tmp_path / "crimson" / "node"
    assert chosen_home(Path("here")) == Path.cwd() / "here"


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGTERM, OK), (signal.SIGINT, INTERRUPTED)])
def test_run_is_a_process_with_one_line_per_event(federation, number, expected):
    one = federation()
    one.start(1, 2, 3)
    home = one.write(0)
    command = [str(CRIMSON), "node", "run", "--home", str(home), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        round_ = one.relay.call(MOMENTS)
        assert one.relay.wait_over(round_) == "released"
        one.relay.wait((home / "receipts" / f"{MOMENTS}-1.cbor").exists)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == expected
    events = [json.loads(line) for line in err.splitlines()]
    assert {"started", "policy", "endorsed", "ready", "sent", "released", "stopped"} <= {
        event["event"] for event in events
    }
    assert json.loads(out)["data"]["rounds"] == 1
    # What is said holds no value of the site's rows.
    cells = {cell for line in (home / "site.csv").read_text().splitlines()[1:] for cell in line.split(",")}
    assert not [cell for cell in cells if "." in cell and cell in err]


def test_without_a_terminal_people_get_plain_lines(federation):
    home = federation().write(0)
    (home / "keys").chmod(0o700)
    command = [str(CRIMSON), "node", "run", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        line = process.stderr.readline()
        process.terminate()
        out, _ = process.communicate(timeout=30)
    assert line.startswith("started gateway=https://127.0.0.1:")
    assert (process.returncode, out) == (OK, "")
