"""What changes between two editions of a federation's rules, in groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import unified_diff

from crimson_governance.changes.entry import Change, Group, group
from crimson_governance.changes.of_models import model_changes, summary
from crimson_governance.parties import Parties, Party
from crimson_governance.vocabulary import STATUSES, date_of, listed
from crimson_protocol.policy.document import OperatorEntry, Policy, RosterEntry
from crimson_protocol.words import fingerprint


@dataclass(frozen=True)
class Edition:
    """One version of the rules: a policy, who governs it, and how people call it. `anchor`: the SHA-256 of the
    federation's first root, None for a source."""

    title: str
    policy: Policy
    parties: Parties
    anchor: bytes | None = None


def groups_of_changes(old: Edition, new: Edition) -> list[Group]:
    """Everything that is not the same, grouped; empty for two equal editions."""
    before, after = old.policy, new.policy
    models = {rules.model: rules for rules in before.models}
    later = {rules.model: rules for rules in after.models}
    found = group("Federation", _federation(before, after))
    found += group("Governors", _governors(old.parties, new.parties))
    found += group("Nodes", _nodes(before.roster, after.roster))
    found += group("Operators", _operators(before.operators, after.operators))
    found += group("How nodes join", _enrolment(before, after))
    for name in sorted({*models, *later}):
        title = f"Model {name}"
        if name not in later:
            found += group(
                title, [Change("-", "the model", consequence="no more rounds; released models stay")]
            )
        elif name not in models:
            found += group(title, [Change("+", "a new model", after=summary(later[name]))])
        else:
            found += group(title, model_changes(models[name], later[name]))
    found += group("What an enclave must prove", _evidence(before, after))
    found += group("Access rules", [], _text(before.access.policies, after.access.policies))
    found += group("Access schema", [], _text(before.access.schema, after.access.schema))
    found += group("Reopened rounds", _reopens(before, after))
    return found + group("Validity", _validity(before, after))


def key_words(first: bytes, second: bytes) -> str:
    """The fingerprint of a pair of public keys as words to read out."""
    return " ".join(fingerprint(first, second))


def _federation(old: Policy, new: Policy) -> list[Change]:
    found = []
    if old.federation != new.federation:
        follows = "this is another federation: nobody will follow it"
        found.append(Change("~", "name", old.federation, new.federation, follows))
    if old.regrouping != new.regrouping:
        follows = "every bucket is drawn anew; what a broken enclave saw of the old ones adds to what it sees of these"
        found.append(Change("~", "regrouping", str(old.regrouping), str(new.regrouping), follows))
    return found


def _nodes(old: Sequence[RosterEntry], new: Sequence[RosterEntry]) -> list[Change]:
    known, later = {entry.node: entry for entry in old}, {entry.node: entry for entry in new}
    found = []
    for name, entry in later.items():
        if name not in known:
            what = f"{name} ({entry.organisation}, {entry.kind}) joins, {entry.status}"
            found.append(Change("+", what, after=_node_words(entry), consequence=STATUSES[entry.status]))
            continue
        found += _node(known[name], entry)
    found += [
        Change(
            "-", f"{name} is gone from the roster", consequence="refused: a node is revoked, never removed"
        )
        for name in known
        if name not in later
    ]
    return found


def _node(old: RosterEntry, new: RosterEntry) -> list[Change]:
    found = []
    if (old.identity_key, old.encryption_key) != (new.identity_key, new.encryption_key):
        follows = "compare the words by phone; the old keys are refused from then on"
        found.append(Change("~", f"{new.node} changes its keys", _node_words(old), _node_words(new), follows))
    if old.status != new.status:
        found.append(Change("~", f"{new.node}", old.status, new.status, STATUSES[new.status]))
    for what, before, after in (
        ("organisation", old.organisation, new.organisation),
        ("kind", old.kind, new.kind),
    ):
        if before != after:
            found.append(Change("~", f"{new.node}, {what}", before, after))
    return found


def _node_words(entry: RosterEntry) -> str:
    return key_words(entry.identity_key, entry.encryption_key)


def _operators(old: Sequence[OperatorEntry], new: Sequence[OperatorEntry]) -> list[Change]:
    known, later = {entry.name: entry for entry in old}, {entry.name: entry for entry in new}
    found = []
    for name, entry in later.items():
        before = known.get(name)
        if before is None:
            roles = f"roles {listed(entry.roles, 'none')}, key {entry.key.hex()}"
            found.append(
                Change("+", name, after=roles, consequence="the gateway takes requests under this key")
            )
            continue
        if before.key != entry.key:
            found.append(
                Change("~", f"{name}, key", before.key.hex(), entry.key.hex(), "the old key is refused")
            )
        if before.roles != entry.roles:
            roles_then, roles_now = (listed(item.roles, "none") for item in (before, entry))
            found.append(Change("~", f"{name}, roles", roles_then, roles_now, "access rules decide by role"))
    return found + [
        Change("-", name, consequence="its requests are refused") for name in known if name not in later
    ]


def _enrolment(old: Policy, new: Policy) -> list[Change]:
    found = []
    before, after = old.enrolment, new.enrolment
    if before.approvals != after.approvals:
        follows = "operators that must have compared a node's words before governors are asked"
        found.append(Change("~", "approvals", str(before.approvals), str(after.approvals), follows))
    return found + _members(
        "kind of node", before.kinds, after.kinds, "may be admitted", "may not be admitted"
    )


def _evidence(old: Policy, new: Policy) -> list[Change]:
    before, after = old.evidence, new.evidence
    hexed = [[item.hex() for item in rules.measurements] for rules in (before, after)]
    roots = [
        [key_words(root.ed25519, root.mldsa65) for root in rules.simulated_roots] for rules in (before, after)
    ]
    return [
        *_members("evidence", before.kinds, after.kinds, "nodes accept it", "nodes refuse it"),
        *_members("enclave", hexed[0], hexed[1], "nodes work with this build", "nodes refuse this build"),
        *_members("software root", roots[0], roots[1], "it may vouch for enclaves", "it may not any more"),
        *_members(
            "measure",
            before.measures,
            after.measures,
            "an enclave must hold it",
            "an enclave may go without it",
        ),
    ]


def _governors(old: Parties, new: Parties) -> list[Change]:
    known, later = ({party.name: party for party in parties.governors} for parties in (old, new))
    found = [
        Change("+", name, after=_party_words(party), consequence="may sign from now on")
        for name, party in later.items()
        if name not in known
    ]
    found += [
        Change(
            "~",
            f"{name} changes keys",
            _party_words(known[name]),
            _party_words(party),
            "compare the words by phone",
        )
        for name, party in later.items()
        if name in known and known[name].public != party.public
    ]
    found += [Change("-", name, consequence="may not sign any more") for name in known if name not in later]
    if old.threshold != new.threshold:
        easier = (
            "fewer governors can change everything" if new.threshold < old.threshold else "more must agree"
        )
        found.append(Change("~", "threshold", str(old.threshold), str(new.threshold), easier))
    if old.publisher != new.publisher:
        then, now = (f"{item.publisher.name} {_party_words(item.publisher)}" for item in (old, new))
        found.append(
            Change("~", "publisher", then, now, "keeps the policy fresh, and can change nothing in it")
        )
    return found


def _party_words(party: Party) -> str:
    return key_words(party.public.ed25519, party.public.mldsa65)


def _reopens(old: Policy, new: Policy) -> list[Change]:
    return [
        Change(
            "+",
            f"round {order.round} of {order.model}",
            consequence="may be run again: its result was never released",
        )
        for order in new.reopens
        if order not in old.reopens
    ]


def _validity(old: Policy, new: Policy) -> list[Change]:
    found = []
    if old.serial != new.serial:
        found.append(Change("~", "version", str(old.serial), str(new.serial)))
    if old.expires != new.expires:
        found.append(Change("~", "expires", date_of(old.expires), date_of(new.expires)))
    return found


def _members(what: str, old: Sequence[str], new: Sequence[str], gained: str, lost: str) -> list[Change]:
    added = [Change("+", f"{what} {item}", consequence=gained) for item in new if item not in old]
    return added + [Change("-", f"{what} {item}", consequence=lost) for item in old if item not in new]


def _text(old: str, new: str) -> list[str]:
    lines = list(unified_diff(old.splitlines(), new.splitlines(), "before", "after", lineterm="", n=2))
    # The names of the two texts say nothing here.
    return lines[2:]
