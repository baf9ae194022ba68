"""The TUF documents that governors sign: targets over a policy and its artifacts, and roots that say who signs.

A party is two TUF keys, Ed25519 and ML-DSA-65, tied by the field x-crimson-party. A role's threshold counts keys, so
it is twice the number of parties; `whole_pairs` counts the parties whose both signatures hold.
"""

import base64
import hashlib
import textwrap
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from tuf.api.metadata import Key, Metadata, Role, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError
from tuf.api.serialization.json import JSONSerializer

from crimson_governance.outcome import BadInput
from crimson_governance.parties import Parties, Party
from crimson_governance.public_files import MAX_PUBLIC
from crimson_protocol.crypto.verify import DualPublic, verify_ed25519, verify_mldsa65
from crimson_protocol.errors import PeerFault
from crimson_protocol.policy.bundle import ARTIFACTS, POLICY_TARGET
from crimson_protocol.policy.document import Policy
from crimson_protocol.policy.quorum import PARTY
from crimson_protocol.secret.keys import DualKey

ROOT_LIFETIME = timedelta(days=3650)
_GOVERNED = (Root.type, Targets.type)
# The head of a SubjectPublicKeyInfo that holds an ML-DSA-65 key (RFC 9881): always the same 22 bytes.
_MLDSA65_HEAD = bytes.fromhex("308207b2300b0609608648016503040312038207a100")
_MLDSA_PAYLOAD = b"tuf\x01"
_SERIALIZER = JSONSerializer(compact=False)


def party_keys(party: Party) -> tuple[Key, Key]:
    """The two TUF keys of a party, Ed25519 first."""
    packed = base64.b64encode(_MLDSA65_HEAD + party.public.mldsa65).decode()
    pem = "\n".join(
        ["-----BEGIN PUBLIC KEY-----", *textwrap.wrap(packed, 64), "-----END PUBLIC KEY-----", ""]
    )
    shapes = (("ed25519", "ed25519", party.public.ed25519.hex()), ("ml-dsa", "ml-dsa-65/1", pem))
    ids = _key_ids(party)
    keys = [
        Key.from_dict(
            identifier, {"keytype": kind, "scheme": scheme, "keyval": {"public": value}, PARTY: party.name}
        )
        for identifier, (kind, scheme, value) in zip(ids, shapes, strict=True)
    ]
    return keys[0], keys[1]


def unsigned_root(parties: Parties, version: int, created: int) -> bytes:
    """A root of this version, made at `created` (Unix seconds)."""
    root = Root(version=version, expires=time_of(created) + ROOT_LIFETIME, consistent_snapshot=True)
    root.roles = {
        name: Role([], 2 * (parties.threshold if name in _GOVERNED else 1))
        for name in (Root.type, Timestamp.type, Snapshot.type, Targets.type)
    }
    for party in parties.governors:
        for key in party_keys(party):
            for role in _GOVERNED:
                root.add_key(key, role)
    for key in party_keys(parties.publisher):
        for role in (Snapshot.type, Timestamp.type):
            root.add_key(key, role)
    return Metadata(root).to_bytes(_SERIALIZER)


def unsigned_targets(policy: Policy, artifacts: Mapping[bytes, bytes]) -> bytes:
    """Targets over a policy and the artifacts that its models start from, by digest."""
    files = {POLICY_TARGET: policy.to_bytes()}
    files |= {f"{ARTIFACTS}/{digest.hex()}": data for digest, data in sorted(artifacts.items())}
    targets = {path: TargetFile.from_data(path, data, ["sha256"]) for path, data in files.items()}
    made = Targets(version=policy.serial, expires=time_of(policy.expires), targets=targets)
    return Metadata(made).to_bytes(_SERIALIZER)


def sign_document(document: bytes, party: Party, key: DualKey) -> dict[str, str]:
    """A party's two signatures over a document, by key id, in hexadecimal."""
    signed = Metadata.from_bytes(document).signed_bytes
    first, second = _key_ids(party)
    return {
        first: key.round_signer.sign(signed).hex(),
        second: key.sign(_mldsa_payload(signed)).mldsa65.hex(),
    }


def whole_pairs(document: bytes, candidates: Mapping[str, Party], signatures: Mapping[str, str]) -> set[str]:
    """The candidates whose both signatures over a document hold, by name. Signatures by key id, in hexadecimal."""
    signed = Metadata.from_bytes(document).signed_bytes
    return {name for name, party in candidates.items() if _holds(signed, party, signatures)}


def _holds(signed: bytes, party: Party, signatures: Mapping[str, str]) -> bool:
    first, second = (signatures.get(identifier, "") for identifier in _key_ids(party))
    try:
        verify_ed25519(party.public.ed25519, signed, bytes.fromhex(first))
        verify_mldsa65(party.public.mldsa65, _mldsa_payload(signed), bytes.fromhex(second))
    except (PeerFault, ValueError):
        return False
    return True


def _key_ids(party: Party) -> tuple[str, str]:
    return hashlib.sha256(party.public.ed25519).hexdigest(), hashlib.sha256(party.public.mldsa65).hexdigest()


def _mldsa_payload(signed: bytes) -> bytes:
    """What TAP 21 has an ML-DSA key sign."""
    return _MLDSA_PAYLOAD + hashlib.sha512(signed).digest()


def time_of(seconds: int) -> datetime:
    """Unix time as TUF has it."""
    return datetime.fromtimestamp(seconds, UTC)


def parties_of_root(document: bytes) -> Parties:
    """Who governs by a root. Raises BadInput for a root whose keys are not whole pairs of named parties."""
    try:
        root = Metadata[Root].from_bytes(document).signed
        governors = _parties(root, Targets.type)
        (publisher,) = _parties(root, Timestamp.type)
        return Parties(governors, root.roles[Targets.type].threshold // 2, publisher)
    except (DeserializationError, KeyError, ValueError, AttributeError):
        raise BadInput("the root does not name its parties", "get the file again", "bad-root") from None


def _parties(root: Root, role: str) -> tuple[Party, ...]:
    halves: dict[str, dict[str, str]] = {}
    for identifier in root.roles[role].keyids:
        key = root.keys[identifier]
        halves.setdefault(key.unrecognized_fields[PARTY], {})[key.keytype] = key.keyval["public"]
    found = []
    for name, keys in sorted(halves.items()):
        raw = base64.b64decode("".join(keys["ml-dsa"].splitlines()[1:-1]))
        public = DualPublic(bytes.fromhex(keys["ed25519"]), raw.removeprefix(_MLDSA65_HEAD))
        found.append(Party(name, DualPublic.from_bytes(public.to_bytes(), MAX_PUBLIC)))
    return tuple(found)
