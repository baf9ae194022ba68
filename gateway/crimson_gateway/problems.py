"""Errors of the HTTPS API: problem+json (RFC 9457) with a closed catalogue of codes."""

import json
from dataclasses import dataclass

from starlette.responses import Response

from crimson_protocol.wire import web

DOC = "docs/errors.md"


@dataclass(frozen=True)
class Kind:
    """One row of the catalogue: HTTP status, what happened, and what to do."""

    status: int
    title: str
    hint: str


CATALOGUE: dict[str, Kind] = {
    # The request itself.
    "bad-request": Kind(400, "The request does not parse", "compare the request with openapi.json"),
    "bad-parameter": Kind(422, "A parameter or field cannot be used", "the detail names it"),
    "not-found": Kind(404, "There is nothing under this path", "compare the path with openapi.json"),
    "method-not-allowed": Kind(405, "The path has no such method", "the Allow field lists the methods"),
    "length-required": Kind(411, "The body's length is not given", "send Content-Length, not chunks"),
    "body-too-large": Kind(
        413, "The body is longer than this path takes", "the detail says how long it may be"
    ),
    "body-too-short": Kind(400, "The body ended before its declared length", "send the request again"),
    "body-too-slow": Kind(
        408, "The body arrived too slowly", "send the request again over a better connection"
    ),
    "digest-differs": Kind(
        400, "The body is not what its digest says", "compute Content-Digest over the body"
    ),
    # Who asks.
    "unsigned": Kind(401, "The request carries no usable signature", "sign it as docs/PROTOCOL.md says"),
    "bad-signature": Kind(
        401,
        "The signature does not hold for a known key",
        "check the key, and that nothing rewrites requests",
    ),
    "clock-skew": Kind(401, "The signature's time is too far from the gateway's", "set this machine's clock"),
    "nonce-used": Kind(401, "A request with this nonce came before", "sign every request with a fresh nonce"),
    "access-denied": Kind(
        403, "The signed access rules do not permit this", "ask the governors: access.cedar decides by role"
    ),
    "not-permitted": Kind(403, "This key may not do this", "nodes and operators have different paths"),
    "rate-limited": Kind(429, "Too many requests", "wait as long as Retry-After says"),
    "too-many-at-once": Kind(
        429, "Too many requests at the same time", "wait for answers before asking again"
    ),
    # What is asked for.
    "unknown-round": Kind(404, "There is no such round", "ask GET /v1/calls or GET /v1/rounds"),
    "unknown-model": Kind(404, "The policy lists no such model", "name a model of the signed policy"),
    "unknown-artifact": Kind(404, "There is no such artifact", "ask for a digest that the policy names"),
    "no-release": Kind(404, "The model was not released yet", "start from its initial artifact"),
    "log-too-short": Kind(404, "The log has not reached this size", "ask again after the next evidence"),
    "round-over": Kind(409, "The round is over", "ask GET /v1/calls for the next"),
    "wrong-phase": Kind(409, "The round is in another phase", "read the round's mail and follow its state"),
    "payload-missing": Kind(409, "The announced vector was not uploaded", "upload the payload first"),
    "quota": Kind(
        409, "The node sent its share of uploads for this attempt", "a node needs one vector an attempt"
    ),
    "wrong-envelope": Kind(
        422, "The envelope is no valid message of this node", "the detail gives the refusal code"
    ),
    "idempotency-key": Kind(
        400, "The Idempotency-Key is missing or unusable", "send one of 1 to 128 printable characters"
    ),
    "idempotency-key-reused": Kind(
        422, "This Idempotency-Key came with another request before", "use a fresh key for every new request"
    ),
    # Sites that join, change their keys, or leave.
    "unknown-invitation": Kind(404, "There is no such invitation", "ask the operator who issued it"),
    "invitation-differs": Kind(
        422,
        "The invitation does not fit this federation as it is now",
        "the detail names the field; issue another",
    ),
    "invitation-exists": Kind(
        409, "Another invitation has this key", "make a fresh key for every invitation"
    ),
    "invitation-expired": Kind(403, "The invitation has expired", "ask the operator for another one"),
    "invitation-revoked": Kind(403, "The invitation was taken back", "ask the operator for another one"),
    "invitation-used": Kind(
        409,
        "Another request came under this invitation",
        "where that was not this site, tell the operator at once",
    ),
    "enrolment-malformed": Kind(
        422,
        "The body is no request of a site",
        "the detail gives the refusal code; send the file as it was made",
    ),
    "enrolment-unproven": Kind(
        422,
        "A signature in the request does not hold",
        "make the request anew; it was changed after it was signed",
    ),
    "enrolment-differs": Kind(
        422, "The request asks for something else than was promised", "the detail names the field"
    ),
    "enrolment-open": Kind(
        409, "The node has another request that is not decided yet", "decide it, or revoke the node, first"
    ),
    "enrolment-closed": Kind(
        409, "The request is decided already", "look at it with `crimson gateway nodes`"
    ),
    "unknown-enrolment": Kind(404, "There is no such request", "send the request first"),
    "unknown-node": Kind(404, "Neither policy nor requests name such a node", "compare with GET /v1/nodes"),
    "key-listed": Kind(409, "The key belongs to somebody already", "make fresh keys for every node"),
    "node-listed": Kind(
        409,
        "The policy lists this node with other keys",
        "rotate its keys, or revoke it before it joins again",
    ),
    "join-not-permitted": Kind(
        403,
        "The policy does not let this site join",
        "the detail gives the reason; only governors can change it",
    ),
    "fingerprint-differs": Kind(
        422,
        "The fingerprint is not that of the requested keys",
        "ask the site to read it out again; where it differs still, somebody replaced the request",
    ),
    "node-suspended": Kind(403, "The node is suspended", "ask the operator, who gave a reason"),
    "node-revoked": Kind(403, "The node's key is revoked", "ask the operator, who gave a reason"),
    # The gateway's own state.
    "storage-full": Kind(
        507, "The gateway has no room for this", "the operator frees space; try again later"
    ),
    "enclave-unavailable": Kind(503, "The enclave does not answer now", "try again later"),
    "internal": Kind(500, "The gateway failed", "the operator finds the request in the gateway's log"),
}


class Problem(Exception):
    """A request that is refused. `detail` is shown to the caller: no secret, no other party's data."""

    def __init__(self, code: str, detail: str = "", *, headers: dict[str, str] | None = None) -> None:
        super().__init__(code)
        self.code, self.detail, self.headers = code, detail, headers or {}

    @property
    def status(self) -> int:
        """HTTP status."""
        return CATALOGUE[self.code].status

    def body(self) -> bytes:
        """The problem document."""
        kind = CATALOGUE[self.code]
        fields = {
            "type": f"{DOC}#{self.code}",
            "title": kind.title,
            "status": kind.status,
            "code": self.code,
            "detail": self.detail or kind.title,
            "hint": kind.hint,
        }
        return json.dumps(fields).encode()

    def response(self) -> Response:
        """The problem as an HTTP response."""
        return Response(self.body(), self.status, headers=self.headers, media_type=web.PROBLEM)
