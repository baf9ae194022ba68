"""Starting: from the home's bytes and the state on disk to a session in a new epoch."""

import os
import time
from dataclasses import dataclass

from crimson_enclave.host.folder import StateFolder
from crimson_enclave.host.gate import largest_vector
from crimson_enclave.host.home import HomeFiles
from crimson_enclave.host.keeper import Keeper, Reloaded, reload
from crimson_enclave.host.spool import LinkSpool
from crimson_enclave.instance import Attester, Clock, Instance
from crimson_enclave.isolation import is_isolated
from crimson_enclave.rounds.release import Observer
from crimson_enclave.sealed.resume import bindings_of, lost_of, places_of
from crimson_enclave.sealed.vault import Vault
from crimson_enclave.session import Session
from crimson_protocol.crypto.verify import DualPublic
from crimson_protocol.errors import CallerFault
from crimson_protocol.evidence.format import Measure
from crimson_protocol.policy.document import Policy
from crimson_protocol.policy.signed import load_policy
from crimson_protocol.refusal import Refusal
from crimson_protocol.secret.key_files import from_pem
from crimson_protocol.secret.keys import DualKey
from crimson_protocol.secret.sealing import SealKey
from crimson_protocol.transcript import model_digest


def now() -> int:
    """Unix time in whole seconds."""
    return int(time.time())


@dataclass(frozen=True)
class Started:
    """A running session with what the host needs around it."""

    session: Session
    keeper: Keeper
    spool: LinkSpool
    governor: DualPublic


def start_from_home(
    files: HomeFiles,
    measurement: bytes,
    measures: tuple[Measure, ...],
    folder: StateFolder,
    observer: Observer | None = None,
) -> Started:
    """Verify policy and state, and start. Raises CrimsonError by blame, NotKept."""
    governor = DualPublic.from_bytes(files.governor, 8192)
    policy = load_policy(files.policy, governor, now())
    if len(files.seal_key) != SealKey.LENGTH:
        raise CallerFault(Refusal.WRONG_LENGTH, "keys/seal.key does not hold 32 bytes")
    vault = Vault(SealKey(files.seal_key), policy.federation, governor, os.urandom)
    reloaded = reload(folder, vault, policy, _initial(policy, files.artifacts))
    root = from_pem(DualKey, files.evidence_root)
    attester = Attester(root, measurement, measures, is_isolated(measures))
    return start(policy, vault, folder, reloaded, attester, observer=observer)


def start(
    policy: Policy,
    vault: Vault,
    folder: StateFolder,
    reloaded: Reloaded,
    attester: Attester,
    clock: Clock = now,
    observer: Observer | None = None,
) -> Started:
    """A session as it was before the restart, in a new epoch that is durable before anything is answered."""
    state, log, memory = reloaded.state, reloaded.log, reloaded.memory
    signing = DualKey(state.signing)
    instance = Instance.start(policy, log.checkpoint(), attester, vault.entropy, state.epoch + 1, signing)
    spool, keeper = LinkSpool(largest_vector(policy)), Keeper(folder, vault, state, memory)
    session = Session(
        policy=policy,
        instance=instance,
        artifacts=dict(memory.artifacts),
        spool=spool,
        clock=clock,
        entropy=vault.entropy,
        observer=observer,
        log=log,
        places=places_of(state),
        published=dict(memory.releases),
        previous=state.previous,
        bound=bindings_of(state),
        lost=lost_of(state),
        released=state.released,
        culprits=frozenset(state.culprits),
        keep=keeper,
    )
    keeper(session)
    return Started(session, keeper, spool, vault.governor)


def _initial(policy: Policy, artifacts: dict[bytes, bytes]) -> dict[str, bytes]:
    """The policy's own artifact of each model that is not based on another."""
    found = {}
    for rules in policy.models:
        if rules.base is not None:
            continue
        artifact = artifacts.get(rules.initial_digest)
        if artifact is None or model_digest(artifact) != rules.initial_digest:
            name = rules.initial_digest.hex()
            text = f"artifacts/{name} is missing, or not the initial artifact of {rules.model}"
            raise CallerFault(Refusal.MODEL_REJECTED, text)
        found[rules.model] = artifact
    return found
