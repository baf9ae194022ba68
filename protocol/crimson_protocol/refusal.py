"""Refusal codes: the closed list of reasons that may cross a boundary (docs/PROTOCOL.md, "Refusals").

Only the code and the culprit travel. The explaining text of an exception stays in the process that
raised it, so no value a peer must not see can leak through an error message.
"""

from enum import Enum


class Refusal(Enum):
    """Why a message, a document or a combination of settings was not accepted."""

    # The bytes themselves.
    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    WRONG_LENGTH = "wrong-length"
    NOT_CANONICAL = "not-canonical"
    # Who spoke, and when.
    WRONG_PHASE = "wrong-phase"
    WRONG_CONTEXT = "wrong-context"
    BAD_SIGNATURE = "bad-signature"
    UNKNOWN_NODE = "unknown-node"
    REPLAYED = "replayed"
    EQUIVOCATION = "equivocation"
    # What the enclave is and which rules it follows.
    EVIDENCE_REJECTED = "evidence-rejected"
    POLICY_REJECTED = "policy-rejected"
    POLICY_WENT_BACK = "policy-went-back"
    ACCESS_DENIED = "access-denied"
    ROUND_WENT_BACK = "round-went-back"
    LOG_WENT_BACK = "log-went-back"
    MODEL_REJECTED = "model-rejected"
    NUMBERS_DIFFER = "numbers-differ"
    # The roster and the graph.
    ORGANISATION_TWICE = "organisation-twice"
    COHORT_TOO_SMALL = "cohort-too-small"
    BUCKET_TOO_SMALL = "bucket-too-small"
    DEGREE_TOO_SMALL = "degree-too-small"
    NONCE_NOT_COMMITTED = "nonce-not-committed"
    # Shares and boxes.
    MANIFEST_ALTERED = "manifest-altered"
    BAD_BOX = "bad-box"
    BAD_COMMITMENT = "bad-commitment"
    BAD_DEALER = "bad-dealer"
    FALSE_COMPLAINT = "false-complaint"
    # The vector.
    DIGEST_DIFFERS = "digest-differs"
    SECOND_INPUT = "second-input"
    NOT_FINITE = "not-finite"
    # Verdict, confirmation, opening.
    SECOND_VERDICT = "second-verdict"
    SETS_DO_NOT_PARTITION = "sets-do-not-partition"
    SURVIVORS_CHANGED = "survivors-changed"
    TOO_FEW_CONFIRMATIONS = "too-few-confirmations"
    SECOND_REQUEST = "second-request"
    AFTER_CONFIRM = "after-confirm"
    # Starts and restarts.
    NOT_ENDORSED = "not-endorsed"
    SECOND_INSTANCE = "second-instance"
    RESTARTED = "restarted"
    # The release.
    TOO_FEW_SHARES = "too-few-shares"
    COUNT_WORDS_DIFFER = "count-words-differ"
    OUT_OF_RANGE = "out-of-range"
    RECEIPT_REJECTED = "receipt-rejected"
    SKETCH_DIFFERS = "sketch-differs"
    TOO_MANY_FLAGGED = "too-many-flagged"
    # Privacy that is spent, and what sketches have shown already.
    BUDGET_EXHAUSTED = "budget-exhausted"
    EXPOSURE_EXCEEDED = "exposure-exceeded"
    THIRD_SKETCH = "third-sketch"
    # Settings that would be unsound together, and settings this version does not implement.
    UNSOUND_POLICY = "unsound-policy"
    UNSUPPORTED = "unsupported"
    EXPIRED = "expired"
