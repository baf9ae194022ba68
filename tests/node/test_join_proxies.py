"""Joining from hospital networks: through a proxy that tunnels, one that asks for a login, one that opens TLS."""

import json

from tests.node.certificates import Authority
from tests.node.commands import joined, ran, refused
from tests.node.proxies import ConnectProxy, InspectingProxy

from crimson_node.outcome import CONNECTION, OK


def test_a_join_through_a_connect_proxy_keeps_it_for_the_node(desk, home, capsys):
    with ConnectProxy() as proxy:
        joined(capsys, desk, home, "--proxy", proxy.url)
        assert set(proxy.tunnels) == {f"127.0.0.1:{desk.server.port}"}
        # The tunnel shows TLS records and nothing of HTTP.
        assert b"/v1/" not in proxy.seen
        assert json.loads((home / "node.json").read_text())["proxy"] == proxy.url
        assert ran(capsys, "status", "--home", home)[1]["data"]["enrolment"]["state"] == "requested"


def test_a_join_through_the_proxy_of_the_environment(desk, home, capsys, monkeypatch):
    with ConnectProxy(login="site:Secret-71") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//site:Secret-71@"))
        data = joined(capsys, desk, home)
        assert proxy.tunnels
    assert "Secret-71" not in json.dumps(data)
    # It comes from the environment again when the node runs: a password is not copied.
    assert json.loads((home / "node.json").read_text())["proxy"] is None


def test_a_proxy_that_refuses_is_named_and_nothing_is_made(desk, home, capsys):
    with ConnectProxy(refuse=403) as proxy:
        argv = ("join", "--token-file", desk.token_file(), "--home", home, "--proxy", proxy.url)
        assert refused(capsys, *argv) == (CONNECTION, "proxy-refused")
    assert not home.exists()


def test_a_proxy_that_opens_tls_is_refused_without_its_authority(desk, home, capsys, authority, tmp_path):
    with InspectingProxy(Authority("hospital"), authority, tmp_path) as proxy:
        argv = ("join", "--token-file", desk.token_file(), "--home", home, "--proxy", proxy.url)
        code, envelope = ran(capsys, *argv)
        assert (code, envelope["error"]["code"]) == (CONNECTION, "certificate-foreign")
        assert "--inspection-ca" in envelope["error"]["hint"]
    assert not home.exists()
    assert not desk.requests


def test_a_proxy_that_opens_tls_reads_a_join_and_learns_no_secret(desk, home, capsys, authority, tmp_path):
    hospital, token = Authority("hospital"), desk.token_file()
    (tmp_path / "hospital.pem").write_bytes(hospital.pem())
    with InspectingProxy(hospital, authority, tmp_path) as proxy:
        argv = ("join", "--token-file", token, "--home", home, "--proxy", proxy.url)
        code, envelope = ran(capsys, *argv, "--inspection-ca", tmp_path / "hospital.pem")
        assert (code, envelope["data"]["state"]) == (OK, "requested")
        # The certificate was copied: the file that was given may go.
        (tmp_path / "hospital.pem").unlink()
        assert (home / "inspection-ca.pem").read_bytes() == hospital.pem()
        assert ran(capsys, "status", "--home", home)[1]["data"]["enrolment"]["state"] == "requested"
        seen = bytes(proxy.seen)
    assert b"POST /v1/enrolments" in seen
    assert token.read_bytes().split(b".")[1][:40] not in seen
    for name in ("identity.pem", "encryption.pem", "invitation.pem"):
        key = (home / "keys" / name).read_bytes().splitlines()[1]
        assert key not in seen


def test_a_file_that_is_no_authority_is_named(desk, home, capsys, tmp_path):
    (tmp_path / "hospital.pem").write_text("not a certificate")
    argv = ("join", "--token-file", desk.token_file(), "--home", home)
    code, name = refused(capsys, *argv, "--inspection-ca", tmp_path / "hospital.pem")
    assert (code, name) == (4, "bad-authority")
    assert not home.exists()
