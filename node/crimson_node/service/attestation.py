"""Evidence, appraisal, endorsement: before anything of a round leaves the node."""

from dataclasses import dataclass

from crimson_node.agent import Agent
from crimson_node.service.events import Report, say
from crimson_node.transport.gateway import Gateway
from crimson_protocol.errors import PeerFault
from crimson_protocol.evidence.validate import Appraisal


@dataclass
class Attestation:
    """Appraises the gateway's enclave, anew each time, and vouches for it."""

    gateway: Gateway
    report: Report

    def fresh(self, agent: Agent) -> Appraisal:
        """Challenge, appraise, endorse. Raises PeerFault: EVIDENCE_REJECTED, SECOND_INSTANCE, LOG_WENT_BACK."""
        evidence = self.gateway.evidence(agent.challenge())
        try:
            appraisal = agent.appraise(evidence)
        except PeerFault as fault:
            raise fault.blamed_on("enclave") from fault
        new = agent.seen.endorsed != (appraisal.epoch, appraisal.claims_digest)
        proof = self.gateway.consistency(agent.last_log_size, appraisal.checkpoint.size) if new else ()
        envelope = agent.endorse(appraisal, proof)
        if new:
            say(
                self.report,
                "endorsed",
                epoch=appraisal.epoch,
                kind="SIMULATED" if appraisal.simulated else "hardware",
                isolated=appraisal.isolated,
                measurement=appraisal.measurement.hex()[:16],
                checks=len(appraisal.checks),
            )
        # Always: the enclave forgets endorsements when it starts anew, and a relay may have lost this one.
        self.gateway.endorse(envelope)
        return appraisal
