"""Hospital networks: proxies that tunnel, ask for a login, refuse, or open TLS."""

from tests.node.certificates import Authority
from tests.node.federation import MOMENTS
from tests.node.proxies import ConnectProxy, InspectingProxy

from crimson_node.outcome import CONNECTION, failure_of
from crimson_node.transport.errors import CertificateRejected, ProxyRefused, ProxyUnreachable
from crimson_node.transport.trust import choose_proxy


def test_a_round_through_a_connect_proxy_of_the_environment(federation, monkeypatch):
    one = federation()
    with ConnectProxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        one.start()
        assert one.round(MOMENTS) == "released"
        one.relay.hush()
        one.stop()
        port = one.relay.server.port
        assert set(proxy.tunnels) == {f"127.0.0.1:{port}"}
        # The tunnel shows TLS records and nothing of HTTP.
        assert b"/v1/" not in proxy.seen


def test_no_proxy_names_the_gateway(federation, monkeypatch):
    one = federation()
    with ConnectProxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "example.org,127.0.0.1")
        one.start(0)
        one.relay.wait(lambda: one.running[0].said("endorsed"))
        assert not proxy.tunnels


def test_the_proxy_of_node_json_comes_first_and_its_password_is_not_shown(federation, monkeypatch):
    one = federation()
    with ConnectProxy(login="site:Secret-71") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        one.start(0, settings={"proxy": proxy.url.replace("//", "//site:Secret-71@")})
        one.relay.wait(lambda: one.running[0].said("endorsed"))
        assert proxy.tunnels
    said = " ".join(event.text() for event in one.running[0].events)
    assert "Secret-71" not in said
    route = choose_proxy("https://gateway.example.org", "http://site:Secret-71@proxy.example.org:3128")
    assert route.shown == "http://proxy.example.org:3128"
    assert "Secret-71" not in repr(route)


def test_a_proxy_that_asks_for_a_login_is_told_apart(federation):
    one = federation()
    with ConnectProxy(login="site:Secret-71") as proxy:
        one.start(0, settings={"proxy": proxy.url})
        error = one.running[0].ended()
    assert isinstance(error, ProxyRefused)
    assert (error.code, failure_of(error).exit_code) == ("proxy-login", CONNECTION)


def test_a_proxy_that_refuses_the_gateway_is_told_apart(federation):
    one = federation()
    with ConnectProxy(refuse=403) as proxy:
        one.start(0, settings={"proxy": proxy.url})
        error = one.running[0].ended()
    assert isinstance(error, ProxyRefused)
    assert (error.code, failure_of(error).exit_code) == ("proxy-refused", CONNECTION)
    assert "403" in str(error)


def test_a_proxy_that_is_away_is_named(federation, quick):
    one = federation()
    one.start(0, settings={"proxy": "http://127.0.0.1:1"}, pace=quick(longest=0.2))
    error = one.running[0].ended()
    assert isinstance(error, ProxyUnreachable)
    assert (failure_of(error).exit_code, "http://127.0.0.1:1" in str(error)) == (CONNECTION, True)


def test_an_inspecting_proxy_needs_its_authority(federation, authority, tmp_path):
    one = federation()
    with InspectingProxy(Authority("hospital"), authority, tmp_path) as proxy:
        one.start(0, settings={"proxy": proxy.url})
        error = one.running[0].ended()
    assert isinstance(error, CertificateRejected)
    assert (error.code, "inspection_ca_file" in error.hint) == ("certificate-foreign", True)
    assert not one.relay.requests


def test_a_round_through_an_inspecting_proxy(federation, authority, tmp_path):
    """It reads every byte of HTTP, and what it reads holds no update: only masked numbers and boxes."""
    one, hospital = federation(), Authority("hospital")
    encoded = {}
    with InspectingProxy(hospital, authority, tmp_path) as proxy:
        for index in range(4):
            home = one.write(index, proxy=proxy.url, inspection_ca_file="hospital.pem")
            (home / "hospital.pem").write_bytes(hospital.pem())
        one.start(witness=encoded.__setitem__)
        assert one.round(MOMENTS) == "released"
        one.relay.hush()
        one.stop()
        assert b"/v1/evidence" in proxy.seen
        assert len(encoded) == 4
        for vector in encoded.values():
            assert bytes(vector.astype("<u4").tobytes()) not in proxy.seen
