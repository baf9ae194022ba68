"""Asking a running enclave for evidence, as any host may, and judging it by the home's own policy."""

import os
import socket
import time
from pathlib import Path

from crimson_enclave.host.failure import UNREACHABLE, Failure
from crimson_enclave.host.home import Home, read_file
from crimson_enclave.host.stream import Connection, LinkLost
from crimson_protocol.errors import PeerFault
from crimson_protocol.evidence.format import MAX_EVIDENCE, Evidence
from crimson_protocol.evidence.validate import appraise
from crimson_protocol.policy.bundle import MAX_BUNDLE, MAX_METADATA
from crimson_protocol.policy.update import Trust, update
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire import link

_PATIENCE = 10.0
_ATTESTATION_FAILED = 6


def ask_evidence(place: Path, home: Home) -> dict[str, object]:
    """Fresh evidence in plain words, appraised. Raises Failure."""
    trust = Trust.anchored(read_file(home.trust_anchor, MAX_METADATA))
    now = int(time.time())
    policy = update(trust, read_file(home.bundle, MAX_BUNDLE), now).policy
    nonce = os.urandom(32)
    data = _fetch(place, nonce)
    try:
        checks = appraise(data, nonce, policy, now).checks
    except PeerFault as fault:
        hint = "this enclave is not one that the policy names: compare `crimson enclave measure` with it"
        code = Refusal.EVIDENCE_REJECTED.value
        raise Failure(_ATTESTATION_FAILED, code, fault.text, hint) from fault
    evidence = Evidence.from_bytes(data, MAX_EVIDENCE)
    report, claims = evidence.report, evidence.preimage.claims
    return {
        "kind": report.kind,
        "label": report.label,
        "isolated": report.isolated,
        "measurement": report.measurement.hex(),
        "measures": {measure.name: measure.enforced for measure in report.measures},
        "epoch": claims.epoch,
        "policy_serial": claims.policy_serial,
        "log_size": claims.checkpoint.size,
        "expires": evidence.preimage.expires,
        "checks": [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in checks],
    }


def _fetch(place: Path, nonce: bytes) -> bytes:
    hint = "start it with: crimson enclave serve"
    try:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(place))
            connection = Connection(peer, lambda _: link.MAX_CONTROL, _PATIENCE)
            for question in (link.Hello(link.LINK_VERSION), link.Attest(nonce)):
                connection.send(question)
                answer = connection.receive()
    except (OSError, LinkLost, PeerFault) as error:
        raise Failure(UNREACHABLE, "enclave-unreachable", f"no enclave answers on {place}", hint) from error
    if not isinstance(answer, link.Attested):
        raise Failure(UNREACHABLE, "no-evidence", "the enclave gave no evidence", hint)
    return answer.evidence
