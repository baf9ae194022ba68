"""One running enclave: its keys, its claims, and the evidence it gives for a nonce."""

from collections.abc import Callable
from dataclasses import dataclass, field

from crimson_protocol.entropy import Entropy
from crimson_protocol.evidence.format import (
    EVIDENCE_VERSION,
    Claims,
    Evidence,
    Measure,
    Preimage,
    SimulatedReport,
    report_bytes,
)
from crimson_protocol.evidence.verify import MAX_LIFETIME
from crimson_protocol.policy.document import Policy
from crimson_protocol.secret.keys import BoxKey, DualKey
from crimson_protocol.wire.messages.advertise import Checkpoint

Clock = Callable[[], int]
"""Unix time in seconds."""


@dataclass(frozen=True)
class Attester:
    """Gives evidence of the `sim` kind: a software root signs what hardware would. SIMULATED everywhere."""

    root: DualKey
    measurement: bytes
    measures: tuple[Measure, ...] = ()
    isolated: bool = False

    def attest(self, claims: Claims, nonce: bytes, now: int, lifetime: int = MAX_LIFETIME) -> bytes:
        """Evidence for one challenge, valid from `now` for `lifetime` seconds."""
        preimage = Preimage(claims, nonce, now + lifetime)
        report = SimulatedReport(
            "sim", "SIMULATED", preimage.report_data(), self.measurement, self.isolated, self.measures, now
        )
        return Evidence(report, self.root.sign(report_bytes(report)), preimage).to_bytes()


@dataclass(frozen=True)
class Instance:
    """One start of the enclave: its keys, and the claims that evidence binds them to."""

    signing: DualKey
    box: BoxKey
    claims: Claims
    attester: Attester = field(repr=False)

    @classmethod
    def start(
        cls,
        policy: Policy,
        checkpoint: Checkpoint,
        attester: Attester,
        entropy: Entropy,
        epoch: int = 1,
        signing: DualKey | None = None,
    ) -> "Instance":
        """A new instance that runs `policy` on a log that ends at `checkpoint`.

        `epoch` counts starts on one sealed state. `signing` is the state's key, so that receipts and
        checkpoints of earlier epochs stay verifiable; everything else is new.
        """
        signing, box = signing or DualKey.fresh(entropy), BoxKey.fresh(entropy)
        claims = Claims(
            version=EVIDENCE_VERSION,
            box_key=box.public,
            receipt_key=signing.public,
            policy_digest=policy.digest(),
            policy_serial=policy.serial,
            checkpoint=checkpoint,
            simulated=True,
            instance=entropy(16),
            epoch=epoch,
        )
        return cls(signing, box, claims, attester)
