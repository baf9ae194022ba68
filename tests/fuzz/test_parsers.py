"""Any bytes fed to any parser parse or raise the peer-fault error; nothing else ever leaves a parser."""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.playground import NOW, Play

from crimson_enclave.dispatch import UntrustedFrame
from crimson_node.journal import Journal
from crimson_protocol import cose
from crimson_protocol.artifact import Artifact
from crimson_protocol.errors import CallerFault, CrimsonError, PeerFault, PolicyRefusal
from crimson_protocol.evidence.validate import appraise
from crimson_protocol.faults import Attempt, convict
from crimson_protocol.policy.update import Trust, update
from crimson_protocol.receipt import verify_receipt
from crimson_protocol.wire import cbor
from crimson_protocol.wire.envelope import Envelope
from crimson_protocol.wire.table import MESSAGES, Role, parse_envelope

EXAMPLES = int(os.environ.get("CRIMSON_EXAMPLES", "200"))
NODES = 4
PHASES = ("offer", "roster", "shared", "frozen", "request", "release")


@cache
def played() -> Play:
    """One honest round; its messages are what mutations start from."""
    federation = Play(Path(mkdtemp()), NODES)
    federation.until("release")
    return federation


@cache
def samples() -> list[bytes]:
    """Valid bytes of every kind that a parser meets."""
    federation = Play(Path(mkdtemp()), NODES)
    federation.prepare()
    said, found = federation.open(), [federation.parties.signed]
    for phase in PHASES:
        found += [data for _, data in said]
        found += [reply.control for reply in federation.deliver(said).values()]
        said = federation.close() if phase != PHASES[-1] else said
    # Bodies too: a mutated envelope fails at its signature, and what lies behind must be met as well.
    found += [Envelope.from_bytes(data, 1 << 20).body for data in found[1:]]
    instance = federation.session.instance
    found += [instance.attester.attest(instance.claims, bytes(32), NOW), federation.session.receipts[0]]
    return found


def parsers() -> dict[str, Callable[[bytes], object]]:
    """Every door that untrusted bytes come through, by name."""
    federation = played()
    policy, trust = federation.policy, Trust.anchored(federation.parties.first_root)
    doors: dict[str, Callable[[bytes], object]] = {
        "envelope of a node": lambda data: parse_envelope(data, Role.NODE, NODES),
        "envelope of the enclave": lambda data: parse_envelope(data, Role.ENCLAVE, NODES),
        "policy": lambda data: update(trust, data, NOW),
        "trust": Trust.anchored,
        "receipt": lambda data: verify_receipt(data, federation.session.instance.signing.public),
        "evidence": lambda data: appraise(data, bytes(32), policy, NOW),
        "fault proof": lambda data: convict(data, policy, Attempt(bytes(32), bytes(32), 3)),
        "artifact": lambda data: Artifact.from_bytes(data, 1 << 20).vector(),
        "COSE_Sign1": lambda data: cose.parse(data, 1 << 20),
        "CBOR": lambda data: cbor.decode(data, cap=1 << 20),
    }
    for message in MESSAGES:
        doors[message.name] = lambda data, record=message.record: record.from_bytes(data, 1 << 20)
    return doors


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid sample with bytes flipped, cut, doubled or put in."""
    data = bytearray(draw(st.sampled_from(samples())))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.integers(0, 3)):
            case 0 if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case 1:
                del data[at:]
            case 2:
                data[at:at] = draw(st.binary(max_size=8))
            case _:
                data[at:at] = data[at : at + draw(st.integers(0, 64))]
    return bytes(data)


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.one_of(st.binary(max_size=400), mutated()))
def test_any_bytes_parse_or_are_a_peers_fault(data):
    for parse in parsers().values():
        with suppress(PeerFault, PolicyRefusal):
            parse(data)


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.one_of(st.binary(max_size=400), mutated()))
def test_any_bytes_at_the_enclave_leave_the_state_as_it_was(data):
    federation = played()
    before = federation.session.state
    faults = federation.session.receive(UntrustedFrame(data))
    assert faults and all(fault.culprit for fault in faults)
    assert federation.session.state is before


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.one_of(st.binary(max_size=400), mutated()))
def test_any_bytes_at_a_node_are_refused_or_understood(data):
    federation = played()
    try:
        federation.agents[0].receive(data)
    except PeerFault as fault:
        assert fault.culprit in ("gateway", "enclave")


@settings(max_examples=EXAMPLES, deadline=None)
@given(data=st.binary(max_size=200), cut=st.integers(0, 200))
def test_any_bytes_in_a_journal_are_a_named_error_or_a_torn_end(data, cut):
    home = Path(mkdtemp())
    (home / "journal").write_bytes((data * 3)[: cut or None])
    try:
        Journal(home / "journal").close()
    except CrimsonError as error:
        assert isinstance(error, CallerFault)
