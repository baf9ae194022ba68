"""Keeping a session: from what it is in memory to one committed state on disk, and back at the next start."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from crimson_enclave.event_log import EventLog
from crimson_enclave.followed import Followed
from crimson_enclave.host.folder import StateFolder
from crimson_enclave.sealed.record import SealedState, Stored
from crimson_enclave.sealed.resume import Files, first_state, refuse_other_log, state_of
from crimson_enclave.sealed.vault import Vault, plain
from crimson_enclave.session import Session
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
    memories: dict[str, bytes] = field(default_factory=dict, repr=False)
    files: Files = field(default_factory=lambda: Files({}, {}, {}))


class Keeper:
    """Called by the session whenever something must be durable before it is said."""

    def __init__(
        self, folder: StateFolder, vault: Vault, state: SealedState, memory: Memory, followed: Followed
    ) -> None:
        self.folder, self.vault, self.memory = folder, vault, memory
        self.state, self.followed = state, followed

    @property
    def size(self) -> int:
        """Log entries that no crash takes back."""
        return self.folder.size

    def __call__(self, session: Session) -> None:
        """Commit the session as it stands. Raises NotKept; or Uncertain, after which only a restart helps."""
        new: list[tuple[Stored, bytes]] = []
        artifacts, releases = dict(self.memory.files.artifacts), dict(self.memory.files.releases)
        for model, artifact in session.artifacts.items():
            if artifact is not self.memory.artifacts.get(model):
                artifacts[model], sealed = self.vault.seal_artifact(model, artifact)
                new.append((artifacts[model], sealed))
        for model, release in session.published.items():
            if release is not self.memory.releases.get(model):
                content = session.contents.get(model)
                releases[model] = plain(release, content.reveal() if content else None)
                new.append((releases[model], release))
        memories, kept = dict(self.memory.files.memories), {}
        for model, remembered in session.accounts.memories.items():
            kept[model] = remembered.to_bytes()
            if kept[model] != self.memory.memories.get(model):
                memories[model], sealed = self.vault.seal_artifact(f"{model} memory", kept[model])
                new.append((memories[model], sealed))
        files = Files(artifacts, releases, memories)
        state = state_of(session, files, self.followed)
        named = {*artifacts.values(), *releases.values(), *memories.values(), state.bundle}
        if state.bundle != self.state.bundle:
            new.append((state.bundle, self.followed.bundle))
        leaves = session.log.leaves[self.folder.size :]
        try:
            self.folder.commit(leaves, new, self.vault.seal_state(state), named)
        except OSError as error:
            raise NotKept(error.strerror or "the system gave no reason") from error
        self.state = state
        self.memory = Memory(dict(session.artifacts), dict(session.published), kept, files)


@dataclass(frozen=True)
class Reloaded:
    """A state read back: the record, the log cut to it, and the current artifact and release of each model."""

    state: SealedState
    log: EventLog
    memory: Memory


def open_folder(folder: StateFolder, vault: Vault) -> SealedState | None:
    """The sealed state on disk, None before the first start. Raises Damaged, CallerFault."""
    blob = folder.blob()
    return None if blob is None else vault.open_state(blob)


def reload(
    folder: StateFolder,
    vault: Vault,
    state: SealedState | None,
    followed: Followed,
    initial: Mapping[str, bytes],
) -> Reloaded:
    """Everything that a state names; the first state is committed before anything else is written.

    initial: the policy's own artifact of each model. Raises Damaged, OSError.
    """
    if state is None:
        state = first_state(followed, DualKey.fresh(vault.entropy), EventLog().checkpoint())
        folder.commit((), [(state.bundle, followed.bundle)], vault.seal_state(state), {state.bundle})
    log = EventLog.of(folder.leaves(state.log.size))
    refuse_other_log(state, log.tree.size, log.tree.root())
    memory = Memory(dict(initial))
    artifacts, releases, memories = {}, {}, {}
    for entry in state.models:
        if entry.artifact is not None:
            artifacts[entry.model] = entry.artifact
            data = folder.read(entry.artifact)
            memory.artifacts[entry.model] = vault.open_artifact(entry.model, entry.artifact, data)
        if entry.release is not None:
            releases[entry.model] = entry.release
            memory.releases[entry.model] = folder.read(entry.release)
        if entry.memory is not None:
            memories[entry.model] = entry.memory
            name, data = f"{entry.model} memory", folder.read(entry.memory)
            memory.memories[entry.model] = vault.open_artifact(name, entry.memory, data)
    memory.files = Files(artifacts, releases, memories)
    return Reloaded(state, log, memory)
