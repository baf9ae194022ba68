"""A site leaves for good: the federation is told first, then the private keys go. Journal and receipts stay.

`left.cbor`, the request that the gateway took, is the mark: with it there, only keys remain to be removed.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from crimson_node.durable import write_file
from crimson_node.enrolment.key_files import ENCRYPTION, IDENTITY
from crimson_node.enrolment.patience import Brief
from crimson_node.enrolment.requests import leave_request
from crimson_node.enrolment.rotation import REQUEST, NextKeys
from crimson_node.enrolment.standing import EnrolmentFiles, Standing
from crimson_node.journal import sync_directory
from crimson_node.outcome import BadConfiguration
from crimson_node.settings import NodeSettings
from crimson_node.transport.gateway import connect
from crimson_protocol.enrolment import MAX_REQUEST


@dataclass(frozen=True)
class Leaving:
    """One farewell: said once, repeated with the same bytes until the gateway took it."""

    files: EnrolmentFiles
    clock: Callable[[], int]

    def settings(self) -> NodeSettings:
        """The settings of the site that leaves. Raises BadConfiguration where there is none."""
        standing = self.files.standing()
        if standing in (Standing.JOINING, Standing.REQUESTED):
            hint = f"ask the operator to refuse the request, and remove {self.files.root}"
            raise BadConfiguration("no policy lists this site yet", hint, "not-a-member")
        return self.files.home.settings()

    def leave(self) -> None:
        """Tell the gateway, then remove the keys.

        Raises BadConfiguration(home-in-use) while an agent runs, TransportFailed where the gateway did not take
        the request; then nothing is removed.
        """
        with self.files.home.lock():
            if self.files.standing() is not Standing.LEFT:
                self._tell()
            self._remove_keys()

    def _tell(self) -> None:
        settings, identity = self.settings(), self.files.home.keys().identity
        path = self.files.farewell
        if not path.exists():
            request = leave_request(settings.federation_name, settings.node, identity, self.clock())
            write_file(path, request)
        gateway = connect(settings, identity, Brief(), self.clock)
        try:
            gateway.leave(path.read_bytes()[: MAX_REQUEST + 1])
        finally:
            gateway.close()
        os.replace(path, self.files.left)
        sync_directory(self.files.root)

    def _remove_keys(self) -> None:
        """The identity key last: while it is there, the farewell can still be repeated."""
        waiting, keys = NextKeys(self.files), self.files.keys
        aside = NextKeys(self.files, refused=True)
        for folder in (waiting.folder, waiting.switching, aside.folder, self.files.root / "refused-keys"):
            _remove(folder, (ENCRYPTION, IDENTITY, REQUEST))
        _remove(keys, (ENCRYPTION, IDENTITY))
        sync_directory(self.files.root)


def _remove(folder: Path, names: tuple[str, ...]) -> None:
    if not folder.exists():
        return
    for name in names:
        (folder / name).unlink(missing_ok=True)
        (folder / f"{name}.new").unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
