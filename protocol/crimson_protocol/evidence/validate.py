"""Appraisal: an enclave's claims against the signed policy, and the verdict a node keeps until it expires."""

from dataclasses import dataclass

from crimson_protocol.crypto.verify import DualPublic
from crimson_protocol.errors import PeerFault
from crimson_protocol.evidence.format import MAX_EVIDENCE, Evidence, Measure
from crimson_protocol.evidence.verify import Check, verify_simulated
from crimson_protocol.policy.document import Policy
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire.messages.advertise import Checkpoint


@dataclass(frozen=True)
class Appraisal:
    """A positive verdict: the enclave's keys and claims, every check, and until when it counts (Unix seconds).

    checkpoint: end of the log when the instance started. measures: what isolates it, as it says itself.
    """

    receipt_key: DualPublic
    box_key: bytes
    claims_digest: bytes
    measurement: bytes
    simulated: bool
    isolated: bool
    measures: tuple[Measure, ...]
    epoch: int
    checkpoint: Checkpoint
    checks: tuple[Check, ...]
    expires: int


def validate(evidence: Evidence, policy: Policy) -> tuple[Check, ...]:
    """Checks E5 to E9 of docs/PROTOCOL.md: claims against policy."""
    report, claims = evidence.report, evidence.preimage.claims
    named = report.kind in policy.evidence.kinds
    # A simulated report must call itself one in the claims too: that flag is in every transcript.
    honest = claims.simulated == (report.kind == "sim")
    known = report.measurement in policy.evidence.measurements
    same = claims.policy_digest == policy.digest() and claims.policy_serial == policy.serial
    held = {measure.name for measure in report.measures if measure.enforced}
    missing = [name for name in policy.evidence.measures if name not in held]
    return (
        Check(
            "kind",
            named,
            f"{report.kind}, {report.label}" if named else f"the policy does not accept {report.kind}",
        ),
        Check(
            "simulated", honest, "labelled SIMULATED" if honest else "the simulated flag contradicts the kind"
        ),
        Check("measurement", known, "a reference value" if known else "no reference value of the policy"),
        Check("policy", same, f"runs policy {policy.serial}" if same else "runs another policy"),
        Check(
            "isolation",
            not missing,
            f"not enforced: {', '.join(missing)}" if missing else "as the policy asks",
        ),
    )


def appraise(data: bytes, nonce: bytes, policy: Policy, now: int) -> Appraisal:
    """Verify and validate untrusted evidence; PeerFault(EVIDENCE_REJECTED) names every failed check."""
    evidence = Evidence.from_bytes(data, MAX_EVIDENCE)
    checks = verify_simulated(evidence, nonce, policy.evidence.simulated_roots, now) + validate(
        evidence, policy
    )
    failed = [f"{check.name}: {check.detail}" for check in checks if not check.ok]
    if failed:
        raise PeerFault(Refusal.EVIDENCE_REJECTED, "; ".join(failed), "enclave")
    claims = evidence.preimage.claims
    return Appraisal(
        receipt_key=claims.receipt_key,
        box_key=claims.box_key,
        claims_digest=claims.digest(),
        measurement=evidence.report.measurement,
        simulated=claims.simulated,
        isolated=evidence.report.isolated,
        measures=evidence.report.measures,
        epoch=claims.epoch,
        checkpoint=claims.checkpoint,
        checks=checks,
        expires=evidence.preimage.expires,
    )
