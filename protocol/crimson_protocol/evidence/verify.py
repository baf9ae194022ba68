"""Verification: signatures, binding and freshness of evidence. Claims are judged in `validate`."""

from collections.abc import Sequence
from dataclasses import dataclass

from crimson_protocol.crypto.verify import DualPublic, verify_dual
from crimson_protocol.errors import PeerFault
from crimson_protocol.evidence.format import Evidence, report_bytes

MAX_LIFETIME = 86_400
"""Longest time that evidence may be trusted for, in seconds."""
CLOCK_SKEW = 300


@dataclass(frozen=True)
class Check:
    """One named check and how it came out; `detail` is for people."""

    name: str
    ok: bool
    detail: str


def verify_simulated(
    evidence: Evidence, nonce: bytes, roots: Sequence[DualPublic], now: int
) -> tuple[Check, ...]:
    """Checks E1 to E4 of docs/PROTOCOL.md on simulated evidence. Pure: clock and trust anchors are arguments."""
    report, preimage = evidence.report, evidence.preimage
    # E1: signed by a software root that the verifier already trusts.
    signed = any(_holds(root, evidence) for root in roots)
    # E2: the report stands for exactly this preimage.
    bound = report.report_data == preimage.report_data()
    # E3: made for this challenge. E4: within its lifetime, and not for longer than a day.
    fresh = preimage.nonce == nonce
    alive = report.issued - CLOCK_SKEW <= now < preimage.expires <= report.issued + MAX_LIFETIME
    return (
        Check(
            "signature",
            signed,
            "signed by a software root of the policy" if signed else "no trusted root signed it",
        ),
        Check(
            "report-data",
            bound,
            "report data equals the hash of the preimage" if bound else "report data differs",
        ),
        Check("nonce", fresh, "answers this challenge" if fresh else "answers another challenge"),
        Check(
            "lifetime",
            alive,
            f"valid until {preimage.expires}" if alive else "expired, early, or valid too long",
        ),
    )


def _holds(root: DualPublic, evidence: Evidence) -> bool:
    try:
        verify_dual(root, report_bytes(evidence.report), evidence.signature)
    except PeerFault:
        return False
    return True
