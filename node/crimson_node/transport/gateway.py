"""The gateway's API as a node sees it: typed questions, each answer held to its type and size."""

import json
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from crimson_node.settings import NodeSettings
from crimson_node.transport.backoff import Backoff
from crimson_node.transport.client import Answer, Body, Client, Patience, Question
from crimson_node.transport.errors import BadAnswer, Busy, Problem
from crimson_node.transport.signing import RequestSigner, no_spare
from crimson_node.transport.trust import choose_proxy, tls_context
from crimson_protocol.artifact import MAX_ARTIFACT
from crimson_protocol.enrolment import EnrolmentState
from crimson_protocol.errors import PeerFault
from crimson_protocol.evidence.format import MAX_EVIDENCE
from crimson_protocol.policy.bundle import MAX_BUNDLE
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.keys import IdentityKey
from crimson_protocol.wire import web
from crimson_protocol.wire.envelope import OVERHEAD
from crimson_protocol.wire.messages.release import Release
from crimson_protocol.wire.records import MAX_NODES, Record
from crimson_protocol.wire.table import BY_RECORD

GATEWAY = "gateway"

MAX_RELEASE = BY_RECORD[Release].cap(MAX_NODES) + OVERHEAD
MAX_SMALL = 8192
NOT_FOUND = 404
LOG_TOO_SHORT, PROOF_TRIES = "log-too-short", 5
Query = Mapping[str, str | int]
Parsed = TypeVar("Parsed", bound=Record)


class Gateway:
    """One gateway. Methods raise TransportFailed; PeerFault(MALFORMED, gateway) for bytes that do not parse."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def policy(self) -> bytes:
        """The signed policy, not verified."""
        return self._get("/v1/policy", web.CBOR, MAX_BUNDLE).body

    def artifact(self, digest: bytes) -> bytes:
        """Bytes that claim to be the initial artifact of this digest."""
        return self._get(f"/v1/artifacts/{digest.hex()}", web.OCTETS, MAX_ARTIFACT).body

    def evidence(self, nonce: bytes) -> bytes:
        """The enclave's evidence for this challenge, not appraised."""
        return self._get("/v1/evidence", web.CBOR, MAX_EVIDENCE, query={"nonce": nonce.hex()}).body

    def endorse(self, envelope: bytes) -> None:
        """Hand over a signed Endorse."""
        self._client.ask(Question("POST", "/v1/endorsements", body=Body.of(envelope)))

    def consistency(self, one: int, other: int) -> Sequence[bytes]:
        """A consistency proof between two sizes of the log, in either order; nothing where none is needed."""
        first, second = sorted((one, other))
        if first in (0, second):
            return ()
        query: Query = {"first": first, "second": second}
        for tries in range(PROOF_TRIES):
            try:
                body = self._get("/v1/consistency", web.CBOR, MAX_SMALL, query=query).body
                return _parsed(web.ProofHashes, body, MAX_SMALL).hashes
            except Problem as problem:
                if problem.code != LOG_TOO_SHORT:
                    raise
                # The relay copies the log behind the enclave: it may be a moment late.
                self._client.pause(Busy(problem.message, problem.hint, problem.code), tries)
        raise PeerFault(Refusal.LOG_WENT_BACK, f"the gateway cannot prove a log of {second} leaves", GATEWAY)

    def release(self, model: str) -> bytes | None:
        """The model's last Release, not verified; None if there is none yet."""
        try:
            return self._get(f"/v1/models/{quote(model, safe='')}/release", web.CBOR, MAX_RELEASE).body
        except Problem as problem:
            if problem.status == NOT_FOUND:
                return None
            raise

    def call(self, after: int, wait: int) -> web.Call | None:
        """The oldest round that is not over, with an id above `after`; None if there is none in `wait` seconds."""
        answer = self._get("/v1/calls", web.CBOR, MAX_SMALL, wait, {"after": after, "wait": wait})
        if not answer.body:
            return None
        call = _parsed(web.Call, answer.body, MAX_SMALL)
        if call.round_id <= after:
            raise PeerFault(Refusal.MALFORMED, "a call of a round that was over", GATEWAY)
        return call

    def ready(self, round_id: int) -> None:
        """Trained, and waiting for the round's offer."""
        self._client.ask(Question("PUT", f"/v1/rounds/{round_id}/ready"))

    def mail(self, round_id: int, after: int, wait: int, state: str) -> web.Mail:
        """Letters after a sequence number; held back up to `wait` seconds while there are none and the round
        stays in `state`."""
        query: Query = {"after": after, "wait": wait, "state": state}
        path = f"/v1/rounds/{round_id}/mail"
        mail = _parsed(web.Mail, self._get(path, web.CBOR, web.MAX_MAIL, wait, query).body, web.MAX_MAIL)
        order = [after, *(letter.sequence for letter in mail.letters)]
        if mail.round_id != round_id or sorted(set(order)) != order:
            raise PeerFault(Refusal.MALFORMED, "mail of another round or out of order", GATEWAY)
        return mail

    def put_payload(self, round_id: int, payload: Body) -> None:
        """Upload the masked vector under its digest."""
        path = f"/v1/rounds/{round_id}/payloads/{payload.digest.hex()}"
        self._client.ask(Question("PUT", path, body=payload))

    def post_envelope(self, round_id: int, envelope: bytes) -> None:
        """Hand over a signed control message."""
        self._client.ask(Question("POST", f"/v1/rounds/{round_id}/envelopes", body=Body.of(envelope)))

    def join(self, request: bytes) -> EnrolmentState:
        """Hand over a SignedJoin, under the invitation's key; the same bytes again are answered the same."""
        return self._enrol("/v1/enrolments", request)

    def rotate(self, request: bytes) -> EnrolmentState:
        """Hand over a SignedRotation, under the node's identity key so far."""
        return self._enrol("/v1/enrolments/rotation", request)

    def leave(self, request: bytes) -> EnrolmentState:
        """Hand over a SignedLeave."""
        return self._enrol("/v1/enrolments/leave", request)

    def enrolment(self) -> EnrolmentState:
        """Where the request of whoever signs stands: of an invitation's key, or of a node's identity key."""
        body = self._get("/v1/enrolments/self", web.CBOR, MAX_SMALL).body
        return _parsed(EnrolmentState, body, MAX_SMALL)

    def version(self) -> tuple[dict[str, Any], Answer]:
        """What the gateway says it runs, asked once and unsigned, with the answer's own headers."""
        question = Question("GET", "/version", media="application/json", cap=MAX_SMALL, signed=False)
        answer = self._client.ask_once(question)
        try:
            values = json.loads(answer.body)
        except ValueError as error:
            raise BadAnswer("the gateway's version is not JSON", "check gateway in node.json") from error
        return (values if isinstance(values, dict) else {}), answer

    def sign_as(self, key: IdentityKey) -> None:
        """Sign requests with another key from now on."""
        self._client.sign_as(key)

    def close(self) -> None:
        """Close every connection."""
        self._client.close()

    def _enrol(self, path: str, request: bytes) -> EnrolmentState:
        question = Question("POST", path, body=Body.of(request), media=web.CBOR, cap=MAX_SMALL)
        return _parsed(EnrolmentState, self._client.ask(question).body, MAX_SMALL)

    def _get(self, path: str, media: str, cap: int, hold: int = 0, query: Query | None = None) -> Answer:
        return self._client.ask(Question("GET", path, query or {}, media=media, cap=cap, wait=hold))


def connect(
    settings: NodeSettings,
    identity: IdentityKey,
    patience: Patience,
    clock: Callable[[], int],
    backoff: Backoff | None = None,
    context: ssl.SSLContext | None = None,
    spare: Callable[[], IdentityKey | None] = no_spare,
) -> Gateway:
    """A gateway's API over the network that the settings describe. Nothing is sent yet.

    `context` stands in for the trust that the settings describe. `spare`: as for RequestSigner.
    """
    proxy = choose_proxy(settings.gateway, settings.proxy)
    transport = httpx.HTTPTransport(
        verify=context or tls_context(settings.authorities),
        trust_env=False,
        proxy=httpx.Proxy(proxy.url) if proxy else None,
    )
    signer = RequestSigner(identity, clock, spare)
    return Gateway(Client(settings.gateway, transport, signer, patience, clock, proxy, backoff))


def _parsed(record: type[Parsed], body: bytes, cap: int) -> Parsed:
    try:
        return record.from_bytes(body, cap)
    except PeerFault as fault:
        raise fault.blamed_on(GATEWAY) from fault
