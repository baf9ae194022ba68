"""Keeping a session: from what it is in memory to one committed state on disk, and back at the next start."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from crimson_enclave.event_log import EventLog
from crimson_enclave.host.folder import StateFolder
from crimson_enclave.sealed.record import SealedState, Stored
from crimson_enclave.sealed.resume import Files, first_state, refuse_other_log, refuse_other_policy, state_of
from crimson_enclave.sealed.vault import Vault, plain
from crimson_enclave.session import Session
from crimson_protocol.policy.document import Policy
from crimson_protocol.secret.keys import DualKey


class NotKept(Exception):
    """The state could not be written, so nothing may leave; the one before still stands. `reason` is the system's."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the state could not be written: {reason}")
        self.reason = reason


@dataclass
class Memory:
    """What the last commit put into files, by model: the bytes themselves tell whether they changed."""

    artifacts: dict[str, bytes] = field(default_factory=dict, repr=False)
    releases: dict[str, bytes] = field(default_factory=dict, repr=False)
    files: Files = field(default_factory=lambda: Files({}, {}))


class Keeper:
    """Called by the session whenever something must be durable before it is said."""

    def __init__(self, folder: StateFolder, vault: Vault, state: SealedState, memory: Memory) -> None:
        self._folder, self._vault, self._memory = folder, vault, memory
        self.state = state

    @property
    def size(self) -> int:
        """Log entries that no crash takes back."""
        return self._folder.size

    def __call__(self, session: Session) -> None:
        """Commit the session as it stands. Raises NotKept; or Uncertain, after which only a restart helps."""
        new: list[tuple[Stored, bytes]] = []
        artifacts, releases = dict(self._memory.files.artifacts), dict(self._memory.files.releases)
        for model, artifact in session.artifacts.items():
            if artifact is not self._memory.artifacts.get(model):
                artifacts[model], sealed = self._vault.seal_artifact(model, artifact)
                new.append((artifacts[model], sealed))
        for model, release in session.published.items():
            if release is not self._memory.releases.get(model):
                releases[model] = plain(release)
                new.append((releases[model], release))
        files = Files(artifacts, releases)
        state = state_of(session, self.state, files)
        named = {*artifacts.values(), *releases.values()}
        leaves = session.log.leaves[self._folder.size :]
        try:
            self._folder.commit(leaves, new, self._vault.seal_state(state), named)
        except OSError as error:
            raise NotKept(error.strerror or "the system gave no reason") from error
        self.state = state
        self._memory = Memory(dict(session.artifacts), dict(session.published), files)


@dataclass(frozen=True)
class Reloaded:
    """A state read back: the record, the log cut to it, and the current artifact and release of each model."""

    state: SealedState
    log: EventLog
    memory: Memory


def reload(folder: StateFolder, vault: Vault, policy: Policy, initial: Mapping[str, bytes]) -> Reloaded:
    """The state on disk, or the first one, which is committed before anything else is written.

    initial: the policy's own artifact of each model. Raises Damaged, PeerFault, PolicyRefusal, CallerFault,
    OSError.
    """
    blob = folder.blob()
    if blob is None:
        state = first_state(policy, DualKey.fresh(vault.entropy), EventLog().checkpoint())
        folder.commit((), (), vault.seal_state(state), set())
    else:
        state = vault.open_state(blob)
    refuse_other_policy(state, policy)
    log = EventLog.of(folder.leaves(state.log.size))
    refuse_other_log(state, log.tree.size, log.tree.root())
    memory = Memory(dict(initial))
    artifacts, releases = {}, {}
    for entry in state.models:
        if entry.artifact is not None:
            artifacts[entry.model] = entry.artifact
            data = folder.read(entry.artifact)
            memory.artifacts[entry.model] = vault.open_artifact(entry.model, entry.artifact, data)
        if entry.release is not None:
            releases[entry.model] = entry.release
            memory.releases[entry.model] = folder.read(entry.release)
    memory.files = Files(artifacts, releases)
    return Reloaded(state, log, memory)
