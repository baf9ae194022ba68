"""New keys for a site that is a member: made beside the old ones, which work until a policy lists the new.

`keys/next/` appears whole, by one rename, and goes whole: renamed to `keys/switching/`, which is the decision,
then its files take the places of the old ones. A kill in between is made good at the next start.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from crimson_node.durable import write_file
from crimson_node.enrolment.key_files import ENCRYPTION, IDENTITY, fresh_keys, read_keys, write_keys
from crimson_node.enrolment.patience import Brief
from crimson_node.enrolment.refusals import as_refusal, is_final, is_refusal
from crimson_node.enrolment.requests import rotation_request
from crimson_node.enrolment.standing import EnrolmentFiles
from crimson_node.home import NodeKeys
from crimson_node.journal import sync_directory
from crimson_node.outcome import BadConfiguration
from crimson_node.transport.errors import AuthenticationFailed, Problem
from crimson_node.transport.gateway import connect
from crimson_protocol.enrolment import MAX_REQUEST, EnrolmentState, open_rotation
from crimson_protocol.entropy import Entropy
from crimson_protocol.secret.keys import IdentityKey

REQUEST = "rotation.request"


@dataclass(frozen=True)
class NextKeys:
    """The keys that a site asked to be listed with, beside those that it is listed with.

    Those of a request that the gateway refused are set aside: it may have kept the request, and governors may list
    them all the same.
    """

    files: EnrolmentFiles
    refused: bool = False

    @property
    def folder(self) -> Path:
        """Where they lie until a policy lists them."""
        return self.files.keys / ("refused" if self.refused else "next")

    @property
    def switching(self) -> Path:
        """Where they lie while they take the places of the old ones."""
        return self.files.keys / "switching"

    def read(self) -> NodeKeys | None:
        """The keys; None where no rotation is under way. Raises BadConfiguration(bad-key)."""
        return read_keys(self.folder)

    def identity(self) -> IdentityKey | None:
        """The identity key among them, else among those set aside; None where there is none that can be read."""
        try:
            keys = self.read() or NextKeys(self.files, refused=True).read()
        except BadConfiguration:
            return None
        return keys.identity if keys else None

    def request(self) -> bytes | None:
        """The signed request that names them."""
        path = self.folder / REQUEST
        return path.read_bytes()[: MAX_REQUEST + 1] if path.is_file() else None

    def keep(self, keys: NodeKeys, request: bytes) -> None:
        """Keys and request, all or nothing."""
        made = self.files.keys / "next.new"
        shutil.rmtree(made, ignore_errors=True)
        write_keys(made, keys)
        write_file(made / REQUEST, request)
        made.rename(self.folder)
        sync_directory(self.files.keys)

    def set_aside(self) -> None:
        """The gateway refused them; they are used only if a verified policy lists them."""
        aside = NextKeys(self.files, refused=True)
        aside.drop()
        self.folder.rename(aside.folder)
        sync_directory(self.files.keys)

    def drop(self) -> None:
        """Forget them: nobody was told."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def switch(self) -> None:
        """From here on they are the site's keys, and the old ones are gone. A kill at any moment changes nothing."""
        self.folder.rename(self.switching)
        sync_directory(self.files.keys)
        self.finish()

    def finish(self) -> None:
        """Go on with a switch that was begun, if there is one."""
        if not self.switching.exists():
            return
        for name in (ENCRYPTION, IDENTITY):
            if (self.switching / name).exists():
                os.replace(self.switching / name, self.files.keys / name)
        sync_directory(self.files.keys)
        shutil.rmtree(self.switching)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One rotation at a time. An agent may run beside it."""
        descriptor = os.open(self.files.keys, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


@dataclass(frozen=True)
class Rotation:
    """One rotation: keys and request are made once, and sent as often as it takes."""

    files: EnrolmentFiles
    clock: Callable[[], int]
    entropy: Entropy

    def ask(self) -> tuple[NodeKeys, EnrolmentState]:
        """Make the keys where there are none, and hand the request over under the key so far.

        Raises EnrolmentRefused, and then keys that were made for it are set aside; TransportFailed, BadConfiguration.
        """
        settings, waiting = self.files.member_settings(), NextKeys(self.files)
        current = self.files.home.keys()
        with waiting.lock():
            begun = waiting.request() is not None
            keys, request = self._kept(current)
            gateway = connect(settings, current.identity, Brief(), self.clock)
            try:
                return keys, gateway.rotate(request)
            except (Problem, AuthenticationFailed) as error:
                if not is_refusal(error):
                    raise
                if not begun and is_final(error):
                    waiting.set_aside()
                raise as_refusal(error) from error
            finally:
                gateway.close()

    def write_request(self, path: Path) -> NodeKeys:
        """Make the keys where there are none, and write the request to a file that somebody carries."""
        self.files.member_settings()
        current = self.files.home.keys()
        with NextKeys(self.files).lock():
            keys, request = self._kept(current)
        write_file(path, request)
        return keys

    def _kept(self, current: NodeKeys) -> tuple[NodeKeys, bytes]:
        """The next keys and the request for them: those of a rotation under way, else new ones."""
        settings, waiting = self.files.member_settings(), NextKeys(self.files)
        keys, request = waiting.read(), waiting.request()
        before = open_rotation(request).previous if request is not None else None
        if keys is not None and request is not None and before == current.identity.public:
            return keys, request
        # What is there is older than the keys in use, or was left by a kill.
        waiting.drop()
        keys = fresh_keys(self.entropy)
        request = rotation_request(settings.federation_name, settings.node, current, keys, self.clock())
        waiting.keep(keys, request)
        return keys, request
