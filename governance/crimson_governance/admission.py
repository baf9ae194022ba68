"""Requests of sites, checked and put into the roster: joining, other keys, leaving."""

from dataclasses import dataclass, replace

from crimson_governance.changes.of_policy import key_words
from crimson_governance.outcome import BadInput, Refused
from crimson_governance.roster_edits import listed_nodes
from crimson_governance.source.folder import Source
from crimson_protocol.enrolment import (
    JOIN_VERSION,
    LEAVE_VERSION,
    MAX_REQUEST,
    ROTATION_VERSION,
    JoinRequest,
    LeaveRequest,
    RotationRequest,
    open_join,
    open_leave,
    open_rotation,
)
from crimson_protocol.errors import PeerFault
from crimson_protocol.policy.document import RosterEntry
from crimson_protocol.wire import cbor

Request = JoinRequest | RotationRequest | LeaveRequest
Roster = tuple[RosterEntry, ...]


@dataclass(frozen=True)
class Admission:
    """What a request changed: the entry as it is now listed, and its words."""

    entry: RosterEntry
    what: str

    @property
    def words(self) -> str:
        """The fingerprint that the site reads out."""
        return key_words(self.entry.identity_key, self.entry.encryption_key)


def read_request(name: str, data: bytes) -> Request:
    """The verified request in a file's bytes.

    Raises BadInput for anything but a request, PeerFault(BAD_SIGNATURE) where a signature does not hold.
    """
    version = _version(data)
    if version == JOIN_VERSION:
        # The invitation's key is the gateway's to check; possession of the new key is what counts here.
        return open_join(data, None)
    if version == ROTATION_VERSION:
        return open_rotation(data)
    if version == LEAVE_VERSION:
        return open_leave(data)
    hint = "give the file that the gateway's operator took from GET /v1/enrolments/NODE/request"
    raise BadInput(f"{name} is no request of a site", hint, "no-request")


def _version(data: bytes) -> str:
    """What kind of request it says it is, before anything is believed."""
    try:
        outer = cbor.decode(data, cap=MAX_REQUEST)
        inner = cbor.decode(outer[0], cap=MAX_REQUEST) if isinstance(outer, list) and outer else None
    except (PeerFault, TypeError):
        return ""
    found = inner[0] if isinstance(inner, list) and inner else ""
    return found if isinstance(found, str) else ""


def admit(source: Source, request: Request, roster: Roster) -> tuple[Roster, Admission]:
    """The roster with the request carried out, and what that was. Raises Refused."""
    if request.federation != source.federation.form.federation:
        raise Refused(
            f"{request.node} asks to join {request.federation}, another federation",
            "send the request to that federation's governors",
            "wrong-federation",
        )
    match request:
        case JoinRequest():
            return _join(source, request, roster)
        case RotationRequest():
            return _rotate(request, roster)
        case LeaveRequest():
            return _leave(request, roster)


def _join(source: Source, request: JoinRequest, roster: Roster) -> tuple[Roster, Admission]:
    if request.kind not in source.federation.form.enrolment.kinds:
        raise Refused(
            f"{request.node} is a {request.kind}, which this federation does not admit",
            "add the kind to enrolment.kinds in federation.yaml, if the governors want it",
            "kind-not-admitted",
        )
    if any(entry.node == request.node for entry in roster):
        raise Refused(
            f"{request.node} is listed already",
            "a listed node changes its keys by a rotation request",
            "already-listed",
        )
    entry = RosterEntry(
        request.node,
        request.organisation,
        request.kind,
        request.identity_key,
        request.encryption_key,
        "active",
    )
    _refuse_known_keys(entry, roster)
    return (*roster, entry), Admission(entry, "joins")


def _rotate(request: RotationRequest, roster: Roster) -> tuple[Roster, Admission]:
    place, known = _member(request.node, request.previous, roster)
    entry = replace(known, identity_key=request.identity_key, encryption_key=request.encryption_key)
    _refuse_known_keys(entry, (*roster[:place], *roster[place + 1 :]))
    return (*roster[:place], entry, *roster[place + 1 :]), Admission(entry, "changes its keys")


def _leave(request: LeaveRequest, roster: Roster) -> tuple[Roster, Admission]:
    place, known = _member(request.node, request.identity_key, roster)
    entry = replace(known, status="revoked")
    return (*roster[:place], entry, *roster[place + 1 :]), Admission(entry, "leaves for good")


def _member(node: str, identity_key: bytes, roster: Roster) -> tuple[int, RosterEntry]:
    for place, entry in enumerate(roster):
        if entry.node == node:
            if entry.identity_key != identity_key:
                hint = "the request is older than the last change of its keys, or not from this node"
                raise Refused(f"{node} is listed under another identity key", hint, "stale-request")
            if entry.status == "revoked":
                raise Refused(
                    f"{node} is revoked", "a revoked node joins anew, under another name", "revoked-for-good"
                )
            return place, entry
    raise Refused(f"{node} is not listed", "it has to join first", "not-listed")


def _refuse_known_keys(new: RosterEntry, roster: Roster) -> None:
    for entry in roster:
        for what in ("identity_key", "encryption_key"):
            if getattr(entry, what) == getattr(new, what):
                key = what.replace("_", " ")
                hint = "ask the site for a new request, with keys made there"
                raise Refused(
                    f"the {key} of {new.node} is in the roster already, at {entry.node}",
                    hint,
                    "already-listed",
                )


def with_status(source: Source, node: str, status: str) -> Roster:
    """The roster with another status of one node. Raises Refused for an unknown node, and for one that is revoked."""
    roster = listed_nodes(source)
    for place, entry in enumerate(roster):
        if entry.node == node:
            if entry.status == "revoked" and status != "revoked":
                hint = "its keys may be in foreign hands: it joins anew, under another name"
                raise Refused(f"{node} is revoked, and that is for good", hint, "revoked-for-good")
            return (*roster[:place], replace(entry, status=status), *roster[place + 1 :])
    raise Refused(f"{node} is not listed", "roster.yaml lists the nodes", "not-listed")
