"""Starting: from the home's bytes and the state on disk to a session in a new epoch, and anew under a new policy."""

import os
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from crimson_enclave.followed import Followed, newest
from crimson_enclave.host.folder import StateFolder
from crimson_enclave.host.home import HomeFiles
from crimson_enclave.host.keeper import Keeper, Reloaded, open_folder, reload
from crimson_enclave.host.spool import LinkSpool
from crimson_enclave.instance import Attester, Clock, Instance
from crimson_enclave.isolation import is_isolated
from crimson_enclave.publish import publish_anew
from crimson_enclave.rounds.release import Observer
from crimson_enclave.sealed.resume import accounts_of, bindings_of, lost_of, places_of
from crimson_enclave.sealed.vault import Vault
from crimson_enclave.session import Session
from crimson_protocol.errors import CallerFault
from crimson_protocol.evidence.format import Measure
from crimson_protocol.layout import Layout
from crimson_protocol.policy.continuity import changes, policy_before, refuse_discontinuous
from crimson_protocol.policy.document import Policy
from crimson_protocol.policy.update import Trust
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.key_files import from_pem
from crimson_protocol.secret.keys import DualKey, Secret
from crimson_protocol.secret.sealing import SealKey
from crimson_protocol.transcript import model_digest


def now() -> int:
    """Unix time in whole seconds."""
    return int(time.time())


def largest_vector(policy: Policy) -> int:
    """Bytes of the largest packed vector that any model of the policy has."""
    return max((Layout(rules.numbers).packed for rules in policy.models), default=0)


@dataclass(frozen=True)
class Started:
    """A running session with what the host needs around it."""

    session: Session
    keeper: Keeper
    spool: LinkSpool


def start_from_home(
    files: HomeFiles,
    measurement: bytes,
    measures: tuple[Measure, ...],
    folder: StateFolder,
    observer: Observer | None = None,
) -> Started:
    """Verify policy and state, and start. Raises CrimsonError by blame, NotKept."""
    if len(files.seal_key) != SealKey.LENGTH:
        raise CallerFault(Refusal.WRONG_LENGTH, "keys/seal.key does not hold 32 bytes")
    anchored = Trust.anchored(files.root)
    vault = Vault(SealKey(files.seal_key), anchored.anchor, os.urandom)
    state = open_folder(folder, vault)
    kept = [folder.read(state.bundle)] if state else []
    followed = newest(state.trust if state else anchored, [files.bundle, *kept], now())
    before = policy_before(kept[0]) if kept else None
    sealed = [model.model for model in state.models if model.artifact] if state else []
    initial = initial_artifacts(followed.policy, files.artifacts, sealed)
    reloaded = reload(folder, vault, state, followed, initial)
    root = from_pem(DualKey, files.evidence_root)
    attester = Attester(root, measurement, measures, is_isolated(measures))
    return start(followed, before, vault, folder, reloaded, attester, observer=observer)


def start(
    followed: Followed,
    before: Policy | None,
    vault: Vault,
    folder: StateFolder,
    reloaded: Reloaded,
    attester: Attester,
    clock: Clock = now,
    observer: Observer | None = None,
    fresh: Mapping[str, bytes] | None = None,
) -> Started:
    """A session as it was before the restart, in a new epoch that is durable before anything is answered.

    before: the policy that the state ran under. fresh: artifacts of models that lie in no home; they are sealed with
    the first commit. Raises PolicyRefusal where the new policy does not follow from the one before.
    """
    policy = followed.policy
    if before is not None:
        refuse_discontinuous(before, policy)
    state, log, memory = reloaded.state, reloaded.log, reloaded.memory
    signing = DualKey(state.signing)
    instance = Instance.start(policy, log.checkpoint(), attester, vault.entropy, state.epoch + 1, signing)
    spool, keeper = LinkSpool(largest_vector(policy)), Keeper(folder, vault, state, memory, followed)
    fresh, places = fresh or {}, places_of(state)
    session = Session(
        policy=policy,
        instance=instance,
        artifacts={**memory.artifacts, **fresh},
        spool=spool,
        clock=clock,
        entropy=vault.entropy,
        observer=observer,
        log=log,
        places={**dict.fromkeys(fresh, (0, 0)), **places},
        published=dict(memory.releases),
        contents={
            entry.model: Secret(entry.release.key)
            for entry in state.models
            if entry.release is not None and entry.release.key is not None
        },
        previous=state.previous,
        bound=bindings_of(state),
        lost=lost_of(state),
        released=state.released,
        culprits=frozenset(state.culprits),
        fresh_until=followed.verified.fresh_until,
        reports=state.reports,
        accounts=accounts_of(state, memory.memories),
        keep=keeper,
    )
    if before is None or before.digest() != policy.digest():
        log.policy(policy.digest(), changes(before, policy), clock())
        _seal_anew(session)
    keeper(session)
    return Started(session, keeper, spool)


def _seal_anew(session: Session) -> None:
    """Let the present roster open every model's last release."""
    for model, content in session.contents.items():
        signing, message = session.instance.signing, session.published[model]
        session.published[model] = publish_anew(message, session.policy, signing, content)


def start_anew(followed: Followed, artifacts: Iterable[bytes], session: Session, keeper: Keeper) -> Started:
    """The same enclave under a newer policy, as if it had been restarted with it: a new epoch that nodes must vouch
    for, and an attempt that was open is lost, to be tried again. The session before counts no more.

    artifacts: those that models start from which are new in the policy.
    """
    offered = {model_digest(artifact): artifact for artifact in artifacts}
    found = initial_artifacts(followed.policy, offered, session.artifacts)
    fresh = {model: artifact for model, artifact in found.items() if model not in session.artifacts}
    refuse_discontinuous(session.policy, followed.policy)
    keeper(session)
    reloaded = Reloaded(keeper.state, session.log, keeper.memory)
    attester, clock, observer = session.instance.attester, session.clock, session.observer
    return start(
        followed, session.policy, keeper.vault, keeper.folder, reloaded, attester, clock, observer, fresh
    )


def initial_artifacts(
    policy: Policy, artifacts: dict[bytes, bytes], known: Collection[str] = ()
) -> dict[str, bytes]:
    """The policy's own artifact of each model that is not based on another. One that is `known` may lack it."""
    found = {}
    for rules in policy.models:
        if rules.base is not None:
            continue
        artifact = artifacts.get(rules.initial_digest)
        if artifact is not None and model_digest(artifact) == rules.initial_digest:
            found[rules.model] = artifact
        elif rules.model not in known:
            name = rules.initial_digest.hex()
            text = f"the initial artifact {name} of {rules.model} is missing, or not the one that the policy names"
            raise CallerFault(Refusal.MODEL_REJECTED, text)
    return found
