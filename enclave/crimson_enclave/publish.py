"""From a released state to the bytes that leave: seal the artifact for the roster, sign receipt and checkpoint."""

from crimson_enclave.event_log import EventLog
from crimson_enclave.state import Released
from crimson_protocol.entropy import Entropy
from crimson_protocol.policy.document import Policy
from crimson_protocol.receipt import release_event
from crimson_protocol.secret.artifacts import seal_artifact
from crimson_protocol.secret.envelopes import sign_message
from crimson_protocol.secret.keys import DualKey
from crimson_protocol.secret.receipts import sign_checkpoint, sign_receipt
from crimson_protocol.wire.messages.release import Release


def publish(
    released: Released, policy: Policy, key: DualKey, log: EventLog, entropy: Entropy
) -> tuple[bytes, bytes]:
    """Steps 13 and 14: append the release to the log and give (signed receipt, signed Release).

    The caller makes leaf and output durable together before the bytes go out.
    """
    receipt, offered = released.receipt, released.judged.agreement.terms.offer.checkpoint.size
    signed = sign_receipt(key, receipt)
    index, checkpoint = log.append(release_event(receipt, signed)), log.checkpoint()
    artifact = seal_artifact(policy, receipt, released.artifact, entropy)
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
