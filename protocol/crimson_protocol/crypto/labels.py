"""Every domain-separation string in one table (docs/PROTOCOL.md, "Labels").

A label is the first element of whatever is hashed, derived, signed or sealed, so bytes made for one
purpose never mean anything for another. The version is part of the label: a new version shares nothing.
"""

VERSION = 1
PREFIX = f"crimson/{VERSION}/"

# Signed envelopes and documents.
ENVELOPE = PREFIX + "envelope"
INVITATION = PREFIX + "invitation"
JOIN = PREFIX + "join"
ROTATION = PREFIX + "rotation"
LEAVE = PREFIX + "leave"
FINGERPRINT = PREFIX + "fingerprint"
CHECKPOINT = PREFIX + "checkpoint"
RECEIPT = PREFIX + "receipt"

# Transcript hashes.
T0 = PREFIX + "T0"
T1 = PREFIX + "T1"
T2 = PREFIX + "T2"
VERDICT = PREFIX + "V"
ROSTER = PREFIX + "roster"
GRAPH = PREFIX + "graph"
GRAPH_STREAM = PREFIX + "graph-stream"
BUCKETS = PREFIX + "buckets"
NONCE = PREFIX + "graph-nonce"
MODEL = PREFIX + "model"
SKETCH = PREFIX + "sketch"
INITIAL = PREFIX + "initial"

# Commitments.
ROOT_COMMITMENT = PREFIX + "commit-root"
SELF_COMMITMENT = PREFIX + "commit-self"
SHARE_COMMITMENT = PREFIX + "commit-share"
PAIR_COMMITMENT = PREFIX + "commit-pair"

# Keys derived from one secret.
MASK_KEY = PREFIX + "mask-key"
PAIR_SECRET = PREFIX + "pair-secret"
PAIR_STREAM = PREFIX + "pair"
SELF_STREAM = PREFIX + "self"

# Boxes.
SHARE_BOX = PREFIX + "box-share"
PAIR_BOX = PREFIX + "box-pair"
UNMASK_BOX = PREFIX + "box-unmask"
MODEL_BOX = PREFIX + "box-model"
SKETCH_BOX = PREFIX + "box-sketch"

# Attestation.
REPORT_DATA = PREFIX + "report-data"
CLAIMS = PREFIX + "claims"
SIMULATED_EVIDENCE = PREFIX + "evidence-sim"

# Sealed state.
SEAL_KEY = PREFIX + "seal-key"
SEALED_STATE = PREFIX + "sealed-state"
SEALED_ARTIFACT = PREFIX + "sealed-artifact"
