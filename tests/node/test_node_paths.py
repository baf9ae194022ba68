"""What lies between node and gateway: proxies that cannot be used, and proxies that say a thing twice."""

import json

import httpx
import pytest

from crimson_node.outcome import BadConfiguration
from crimson_node.transport.errors import AuthenticationFailed, Busy
from crimson_node.transport.failures import refusal
from crimson_node.transport.trust import choose_proxy


@pytest.mark.parametrize("url", ["socks5h://user:hunter2@proxy:1080", "http://:3128", "http://proxy:abc"])
def test_an_address_that_is_no_http_proxy_is_refused_and_not_repeated(monkeypatch, url):
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", url)
    with pytest.raises(BadConfiguration) as caught:
        choose_proxy("https://gateway.example.org", None)
    assert "hunter2" not in str(caught.value) and "SOCKS" in caught.value.hint


@pytest.mark.parametrize(("code", "kind"), [("nonce-used", Busy), ("bad-signature", AuthenticationFailed)])
def test_a_request_that_a_proxy_repeated_is_tried_again_and_a_bad_key_is_not(code, kind):
    problem = json.dumps({"code": code, "detail": "no"}).encode()
    assert type(refusal(httpx.Response(401), problem, 1_900_000_000)) is kind
