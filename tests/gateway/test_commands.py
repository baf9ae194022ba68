"""`crimson gateway` as an operator meets it: exit codes, clear errors, certificates."""

import json
import os
import socket
import ssl
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from tests.gateway.federation import Federation, crimson, valid_now
from tests.playground import FOUNDED, make_parties

from crimson_gateway.settings import GatewaySettings, SettingsFault, read_settings
from crimson_gateway.tls import CertificateFault, TlsFiles, check_certificate, ensure_certificate
from crimson_protocol.policy.bundle import MAX_BUNDLE, PolicyBundle

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def error_of(done) -> dict[str, str]:
    envelope = json.loads(done.stdout)
    assert envelope["schema"] == "crimson/envelope/1" and not envelope["ok"]
    assert "Traceback" not in done.stderr
    return envelope["error"]


@pytest.fixture
def prepared(tmp_path) -> Federation:
    federation = Federation(tmp_path, parties=valid_now(make_parties(4, seed="commands")))
    yield federation
    federation.close()


def serve(federation: Federation, *arguments: str, **environment: str):
    command = ("gateway", "serve", "--home", str(federation.home), "--json", *arguments)
    return crimson(*command, env={**os.environ, **environment})


def test_init_makes_keys_that_only_the_owner_may_read(prepared):
    home = prepared.home
    for path in home.rglob("*key*.pem"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for folder in (home, home / "tls", home / "tls/keys", home / "keys"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    again = crimson("gateway", "init", "--home", str(home), "--json")
    assert again.returncode == 4 and error_of(again)["code"] == "bad-setting"


def test_help_has_examples_and_bad_usage_gives_4():
    for command in (("init",), ("serve",)):
        done = crimson("gateway", *command, "--help")
        assert done.returncode == 0 and "Examples" in done.stdout
    assert crimson("gateway", "serve", "--nonsense").returncode == 4


def test_a_taken_port_is_a_clear_error(prepared):
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = serve(prepared, "--port", str(other.getsockname()[1]))
    assert done.returncode == 4 and error_of(done)["code"] == "port-taken"


def test_a_second_gateway_on_the_same_port_is_refused(prepared):
    prepared.start()
    done = serve(prepared, "--port", str(prepared.port))
    assert done.returncode == 4 and error_of(done)["code"] == "port-taken"
    assert prepared.client(0).http.get("/livez").status_code == 200


def test_a_missing_policy_is_named(prepared):
    (prepared.home / "policy" / "policy.bundle").unlink()
    done = serve(prepared)
    assert done.returncode == 4 and "policy.bundle" in error_of(done)["message"]


def test_a_missing_root_is_named(prepared):
    (prepared.home / "root.json").unlink()
    done = serve(prepared)
    assert done.returncode == 4 and "root.json" in error_of(done)["message"]


def test_a_policy_of_another_federation_is_refused(prepared):
    (prepared.home / "root.json").write_bytes(make_parties(4, seed="another").first_root)
    done = serve(prepared)
    assert done.returncode == 5 and error_of(done)["code"] == "policy-rejected"


def test_a_policy_edited_after_it_was_signed_is_refused(prepared):
    path = prepared.home / "policy" / "policy.bundle"
    bundle = PolicyBundle.from_bytes(path.read_bytes(), MAX_BUNDLE)
    edited = bytearray(bundle.policy)
    edited[-1] ^= 1
    path.write_bytes(replace(bundle, policy=bytes(edited)).to_bytes())
    done = serve(prepared)
    assert done.returncode == 9 and error_of(done)["code"] == "digest-differs"


def test_an_expired_policy_is_refused_by_policy(prepared):
    prepared.publish(expires=FOUNDED + 1)
    done = serve(prepared)
    assert done.returncode == 5 and error_of(done)["code"] == "expired"


def test_an_unknown_setting_names_the_nearest(prepared):
    prepared.set(phase_second=5)
    done = serve(prepared)
    assert done.returncode == 4
    assert "phase_second" in error_of(done)["message"] and "phase_seconds" in error_of(done)["hint"]


@pytest.mark.parametrize("value", ["no", 70000, -1])
def test_a_setting_out_of_range_is_refused(prepared, value):
    prepared.set(port=value)
    done = serve(prepared)
    assert done.returncode == 4 and "port" in error_of(done)["message"]


def test_environment_goes_before_the_file_and_flags_before_both(tmp_path):
    (tmp_path / "gateway.json").write_text('{"port": 1000, "host": "10.0.0.1"}')
    assert read_settings(tmp_path, {}).port == 1000
    assert read_settings(tmp_path, {"FL_SERVER_PORT": "2000"}).port == 2000
    settings = read_settings(tmp_path, {"FL_SERVER_PORT": "2000", "FL_SERVER_HOST": "h"}, {"port": 3000})
    assert (settings.port, settings.host) == (3000, "h")
    assert GatewaySettings().port == 8443
    (tmp_path / "gateway.json").write_text("[]")
    with pytest.raises(SettingsFault):
        read_settings(tmp_path, {})


def test_an_expired_certificate_is_refused(prepared, tmp_path):
    old = ensure_certificate(tmp_path / "old", ("127.0.0.1",), LONG_AGO)
    prepared.set(certificate=str(old.certificate), private_key=str(old.key))
    done = serve(prepared)
    assert done.returncode == 4
    assert error_of(done)["code"] == "certificate" and "expired" in error_of(done)["message"]


def test_a_certificate_of_the_future_and_a_foreign_key_are_refused(tmp_path):
    files = ensure_certificate(tmp_path / "one", ("127.0.0.1",), datetime.now(UTC) + timedelta(days=30))
    with pytest.raises(CertificateFault, match="not valid before"):
        check_certificate(files)
    mine = ensure_certificate(tmp_path / "mine", ("127.0.0.1",))
    check_certificate(mine)
    with pytest.raises(CertificateFault, match="does not belong"):
        check_certificate(TlsFiles(mine.certificate, files.key))
    (tmp_path / "text").write_text("nothing")
    with pytest.raises(CertificateFault, match="no PEM"):
        check_certificate(TlsFiles(tmp_path / "text", mine.key))


def test_a_leaf_is_renewed_before_its_end_and_for_a_new_name(tmp_path):
    first = ensure_certificate(tmp_path, ("127.0.0.1",)).certificate.read_bytes()
    authority = (tmp_path / "tls/ca.pem").read_bytes()
    assert ensure_certificate(tmp_path, ("127.0.0.1",)).certificate.read_bytes() == first
    named = ensure_certificate(tmp_path, ("127.0.0.1", "gateway.example")).certificate.read_bytes()
    assert named != first
    soon = datetime.now(UTC) + timedelta(days=390)
    renewed = ensure_certificate(tmp_path, ("127.0.0.1", "gateway.example"), soon)
    assert renewed.certificate.read_bytes() != named
    check_certificate(renewed, soon)
    assert (tmp_path / "tls/ca.pem").read_bytes() == authority
    with pytest.raises(CertificateFault, match="authority"):
        ensure_certificate(tmp_path, ("127.0.0.1",), datetime.now(UTC) + timedelta(days=2000))


def test_a_client_that_trusts_another_authority_does_not_connect(prepared, tmp_path):
    prepared.start()
    ensure_certificate(tmp_path / "foreign", ("127.0.0.1",))
    foreign = tmp_path / "foreign" / "tls" / "ca.pem"
    with pytest.raises(httpx.ConnectError):
        httpx.get(prepared.url + "/livez", verify=_context(foreign), trust_env=False)


def test_nothing_older_than_tls_13_is_spoken(prepared):
    prepared.start()
    context = _context(prepared.authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(httpx.ConnectError):
        httpx.get(prepared.url + "/livez", verify=context, trust_env=False)


def _context(authority: Path):
    return ssl.create_default_context(cafile=authority)
