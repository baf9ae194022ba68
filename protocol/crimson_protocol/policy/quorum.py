"""Signatures on TUF metadata: enough keys by TUF's own count, and enough parties with both of their keys.

A party, a governor or the publisher, is two TUF keys tied by a name: Ed25519 and ML-DSA-65. TUF counts keys, so a
role's threshold is twice the parties it needs; that alone would let three Ed25519 keys and one other through.
"""

import base64
from typing import TypeVar

from tuf.api.metadata import Key, Metadata, Root, Snapshot, Targets, Timestamp

from crimson_protocol.errors import PeerFault
from crimson_protocol.refusal import Refusal

PARTY = "x-crimson-party"
SCHEMES = {"ed25519": "ed25519", "ml-dsa": "ml-dsa-65/1"}
"""Key types of a party with their schemes."""
ROLES = ("root", "targets", "snapshot", "timestamp")
MAX_PARTIES = 64
# An ML-DSA-65 public key ends its SubjectPublicKeyInfo.
_MLDSA65 = 1952

Kind = TypeVar("Kind", Root, Timestamp, Snapshot, Targets)


def refuse_unpaired(root: Root) -> None:
    """PeerFault(POLICY_REJECTED) unless each role's keys are whole pairs, no key serves two parties, and the
    thresholds ask for at least one pair."""
    known: dict[bytes, str] = {}
    for role in ROLES:
        parties: dict[str, set[str]] = {}
        entry = root.roles[role]
        for identifier in entry.keyids:
            key = root.keys.get(identifier)
            if key is None or SCHEMES.get(key.keytype) != key.scheme:
                raise _rejected(f"a key of role {role} is neither Ed25519 nor ML-DSA-65")
            name = party_of(key)
            if known.setdefault(_raw(key), f"{name}/{identifier}") != f"{name}/{identifier}":
                raise _rejected(f"one key stands for two parties of role {role}")
            if key.keytype in parties.setdefault(name, set()):
                raise _rejected(f"{name} has two keys of one kind in role {role}")
            parties[name].add(key.keytype)
        if len(parties) > MAX_PARTIES or any(len(kinds) != len(SCHEMES) for kinds in parties.values()):
            raise _rejected(f"a party of role {role} lacks one of its two keys")
        if entry.threshold % 2 or not 2 <= entry.threshold <= 2 * len(parties):
            raise _rejected(f"the threshold of role {role} is no number of whole parties")


def party_of(key: Key) -> str:
    """The name that ties a party's two keys. PeerFault(POLICY_REJECTED) for a key without one."""
    name = key.unrecognized_fields.get(PARTY)
    if not isinstance(name, str) or not 1 <= len(name) <= 64 or not name.isprintable():
        raise _rejected("a key names no party")
    return name


def _raw(key: Key) -> bytes:
    """The key itself: hexadecimal and PEM write one key in many ways."""
    text = key.keyval["public"]
    try:
        if key.keytype == "ed25519":
            return bytes.fromhex(text)
        lines = (line.strip() for line in text.splitlines())
        return base64.b64decode("".join(line for line in lines if not line.startswith("-----")))[-_MLDSA65:]
    except ValueError:
        raise _rejected("a key cannot be read") from None


def refuse_too_few(root: Root, role: str, metadata: Metadata[Kind], culprit: str | None = None) -> None:
    """PeerFault(BAD_SIGNATURE) unless `metadata` is signed for `role` by the threshold of whole parties."""
    threshold = root.roles[role].threshold
    found = root.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
    kinds: dict[str, set[str]] = {}
    for key in found.signed.values():
        kinds.setdefault(party_of(key), set()).add(key.keytype)
    whole = sum(len(held) == len(SCHEMES) for held in kinds.values())
    if not found.verified or 2 * whole < threshold:
        text = f"{role} {metadata.signed.version}: {whole} of {threshold // 2} signatures hold"
        raise PeerFault(Refusal.BAD_SIGNATURE, text, culprit)


def _rejected(text: str) -> PeerFault:
    return PeerFault(Refusal.POLICY_REJECTED, text)
