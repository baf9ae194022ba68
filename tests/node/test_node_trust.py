"""Whom a node believes to be its gateway, and by which clock."""

import time

import pytest
from tests.node.certificates import Authority

from crimson_node.outcome import CONNECTION, failure_of
from crimson_node.transport.errors import CertificateRejected, ClockSkew


@pytest.mark.parametrize(
    ("days", "host", "code"),
    [
        ((-30, -1), "127.0.0.1", "certificate-expired"),
        ((1, 30), "127.0.0.1", "certificate-not-yet-valid"),
        ((-1, 30), "gateway.example.org", "certificate-wrong-host"),
    ],
)
def test_a_certificate_that_does_not_count_ends_the_node(federation, authority, tmp_path, days, host, code):
    one = federation(certificate=authority.issue(tmp_path, host, days=days))
    one.start(0)
    error = one.running[0].ended()
    assert isinstance(error, CertificateRejected)
    assert (error.code, failure_of(error).exit_code) == (code, CONNECTION)
    assert not one.relay.requests


def test_a_certificate_of_a_foreign_authority_ends_the_node(federation, tmp_path):
    one = federation(certificate=Authority("foreign").issue(tmp_path))
    one.start(0)
    error = one.running[0].ended()
    assert (error.code, failure_of(error).exit_code) == ("certificate-foreign", CONNECTION)
    assert not one.relay.requests


@pytest.mark.parametrize("off", [600, -600])
def test_a_clock_off_by_ten_minutes_is_told_with_its_difference(federation, off):
    one = federation()
    one.start(0, clock=lambda: int(time.time()) + off)
    error = one.running[0].ended()
    assert isinstance(error, ClockSkew)
    assert (error.code, failure_of(error).exit_code) == ("clock-skew", CONNECTION)
    side = "ahead" if off > 0 else "behind"
    assert side in str(error)
    assert any(f"by {abs(off) + slack} seconds" in str(error) for slack in range(-5, 6))
