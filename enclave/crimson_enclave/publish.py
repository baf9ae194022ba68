"""From a released state to the bytes that leave: seal the artifact for the roster, sign receipt and checkpoint."""

from dataclasses import replace

from crimson_enclave.event_log import EventLog
from crimson_enclave.state import Released
from crimson_protocol.entropy import Entropy
from crimson_protocol.policy.document import Policy
from crimson_protocol.receipt import release_event, unverified_receipt
from crimson_protocol.secret.artifacts import seal_anew, seal_artifact
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.secret.keys import DualKey, Secret
from crimson_protocol.secret.receipts import sign_checkpoint, sign_receipt
from crimson_protocol.wire.envelope import OVERHEAD, Envelope
from crimson_protocol.wire.messages.release import Release
from crimson_protocol.wire.records import MAX_NODES
from crimson_protocol.wire.table import BY_RECORD


def publish(
    released: Released, policy: Policy, key: DualKey, log: EventLog, content: Secret, entropy: Entropy
) -> tuple[bytes, bytes]:
    """Steps 13 and 14: append the release to the log and give (signed receipt, signed Release).

    content: the fresh key that the artifact is encrypted under. The caller makes leaf and output durable together
    before the bytes go out.
    """
    receipt, offered = released.receipt, released.judged.agreement.terms.offer.checkpoint.size
    signed = sign_receipt(key, receipt)
    index, checkpoint = log.append(release_event(receipt, signed)), log.checkpoint()
    artifact = seal_artifact(policy, receipt, released.artifact, content, entropy)
    message = Release(
        v=receipt.v,
        artifact=artifact,
        receipt=signed,
        checkpoint=sign_checkpoint(key, receipt.federation, checkpoint, receipt.time).to_bytes(),
        leaf_index=index,
        inclusion=log.tree.inclusion_proof(index, checkpoint.size),
        consistency=log.tree.consistency_proof(offered, checkpoint.size),
    )
    return signed, sign_message(key.round_signer, None, message)


def publish_anew(message: bytes, policy: Policy, key: DualKey, content: Secret) -> bytes:
    """An earlier release of ours, whose artifact the active nodes of another policy can open: the same receipt, at the
    same place in the log."""
    cap = BY_RECORD[Release].cap(MAX_NODES)
    release = Release.from_bytes(Envelope.from_bytes(message, cap + OVERHEAD).body, cap)
    sealed = seal_anew(release.artifact, policy, unverified_receipt(release.receipt), content)
    return sign_message(key.round_signer, None, replace(release, artifact=sealed))
