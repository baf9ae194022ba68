"""What a join writes into a home, in which order, and how it is taken back.

Order: the mark of the join, keys, authorities, root, trust, the signed request; `node.json` last of all, once
the gateway has the request. A join that was killed anywhere finds its keys and its request again.
"""

import shutil
import ssl
from dataclasses import dataclass
from pathlib import Path

from crimson_node.durable import make_folder, write_file
from crimson_node.enrolment.admission import Federation
from crimson_node.enrolment.key_files import read_keys, write_keys
from crimson_node.enrolment.requests import join_request
from crimson_node.enrolment.standing import EnrolmentFiles, Standing
from crimson_node.home import PRIVATE, NodeKeys
from crimson_node.outcome import BadConfiguration
from crimson_node.settings import NodeSettings, read_settings
from crimson_protocol.enrolment import MAX_REQUEST, MAX_TOKEN, Invitation, open_join
from crimson_protocol.errors import CrimsonError
from crimson_protocol.policy.update import anchor_of
from crimson_protocol.secret.key_files import from_pem, to_pem
from crimson_protocol.secret.keys import IdentityKey


@dataclass(frozen=True)
class JoiningHome:
    """The home of a site on its way in."""

    files: EnrolmentFiles

    def refuse_other_site(self, invitation: Invitation, key: IdentityKey | None) -> Standing:
        """The home's standing, where this invitation may be answered from it. key: the token's, None without one.

        Raises BadConfiguration: home-left, home-taken, join-under-way, exposed-files. Nothing is written.
        """
        files, standing = self.files, self.files.standing()
        if standing is Standing.LEFT:
            raise files.gone()
        if standing is not Standing.EMPTY and not self._is_of(invitation, standing):
            site = f"{invitation.node} of {invitation.federation}"
            raise BadConfiguration(
                f"{files.root} is the home of another site than {site}",
                "give another folder with --home",
                "home-taken",
            )
        if files.invitation.exists() and not self._is_answered(invitation, key):
            hint = f"crimson node join --home {files.root} goes on with it, or clears it where it was refused"
            raise BadConfiguration("a join with another token is under way here", hint, "join-under-way")
        if files.root.exists() and files.root.stat().st_mode & PRIVATE:
            text, hint = f"{files.root} is open to other users", f"chmod 700 {files.root}"
            raise BadConfiguration(text, hint, "exposed-files")
        return standing

    def invitation(self) -> Invitation:
        """The invitation of the join under way. Raises BadConfiguration(no-join) where there is none."""
        path = self.files.invitation
        if not path.is_file():
            hint = "give --token-file FILE, or the folder of the join with --home"
            raise BadConfiguration(f"no join is under way in {self.files.root}", hint, "no-join")
        try:
            return Invitation.from_bytes(path.read_bytes(), MAX_TOKEN)
        except CrimsonError as error:
            raise BadConfiguration(f"{path} is damaged", "join anew in another folder", "no-join") from error

    def keys(self) -> NodeKeys | None:
        """The keys that this join made; None before it did."""
        return read_keys(self.files.keys)

    def invitation_key(self) -> IdentityKey:
        """The key of the invitation that is answered. Raises BadConfiguration(no-join) before it was kept."""
        path = self.files.invitation_key
        try:
            return from_pem(IdentityKey, path.read_bytes())
        except (OSError, CrimsonError) as error:
            text = f"the join in {self.files.root} did not come far enough to go on by itself"
            raise BadConfiguration(text, "give the token again with --token-file FILE", "no-join") from error

    def keep_request(self, invitation: Invitation, key: IdentityKey, fresh: NodeKeys, now: int) -> bytes:
        """The signed request, made at the first call and the same ever after; its keys are on disk before it.

        `fresh` are the keys to keep where this home has none yet.
        """
        files = self.files
        write_file(files.invitation, invitation.to_bytes())
        make_folder(files.keys)
        write_file(files.invitation_key, to_pem(key))
        keys = self.keys()
        if keys is None:
            keys = fresh
            write_keys(files.keys, keys)
        kept = self.request()
        if kept is None or open_join(kept, None).identity_key != keys.identity.public:
            kept = join_request(invitation, key, keys, now)
            write_file(files.request, kept)
        return kept

    def request(self) -> bytes | None:
        """The signed request; None before it was made."""
        path = self.files.request
        return path.read_bytes()[: MAX_REQUEST + 1] if path.is_file() else None

    def keep_authorities(self, invitation: Invitation, inspection: Path | None) -> None:
        """Certificates of the gateway's authority and of the hospital's inspecting proxy."""
        if invitation.authority is not None:
            write_file(self.files.authority, authority_pem(invitation.authority))
        if inspection is not None and inspection != self.files.inspection:
            write_file(self.files.inspection, inspection.read_bytes())

    def keep_federation(self, federation: Federation) -> None:
        """The first root, by which this site knows the federation, and how far its policies were followed."""
        write_file(self.files.home.trust_anchor, federation.root)
        self.files.home.write_trust(federation.verified.trust)

    def keep_settings(self, settings: NodeSettings) -> None:
        """`node.json`: from here on this is the home of a site. What a person wrote stays where nothing changed."""
        if not self.files.settings.exists() or read_settings(self.files.root) != settings:
            write_file(self.files.settings, settings.rendered(self.files.root))

    def settle(self) -> None:
        """A policy lists this node: nothing of the joining is needed any more."""
        for path in (self.files.request, self.files.invitation_key, self.files.invitation):
            path.unlink(missing_ok=True)

    def set_aside(self) -> None:
        """Take the join back, and keep its keys: the gateway had the request, and only its word says that it is over.

        Governors may list them all the same; `refused-keys` is never read by this program.
        """
        kept = self.files.root / "refused-keys"
        if self.files.keys.exists():
            shutil.rmtree(kept, ignore_errors=True)
            self.files.invitation_key.unlink(missing_ok=True)
            self.files.keys.rename(kept)
        self.undo()

    def undo(self) -> None:
        """Take everything back that the join wrote; the mark goes last, so that a kill can be made good."""
        files, home = self.files, self.files.home
        files.settings.unlink(missing_ok=True)
        files.request.unlink(missing_ok=True)
        shutil.rmtree(files.keys, ignore_errors=True)
        for path in (
            home.trust,
            home.bundle,
            home.trust_anchor,
            files.authority,
            files.inspection,
            files.invitation,
        ):
            path.unlink(missing_ok=True)

    def _is_answered(self, invitation: Invitation, key: IdentityKey | None) -> bool:
        """Whether the join under way is the one of this token."""
        if self.invitation() != invitation:
            return False
        if key is None or not self.files.invitation_key.exists():
            return True
        return self.invitation_key().public == key.public

    def _is_of(self, invitation: Invitation, standing: Standing) -> bool:
        if standing is Standing.FOREIGN:
            return False
        if self.files.invitation.exists():
            known = self.invitation()
            return (known.anchor, known.node) == (invitation.anchor, invitation.node)
        anchor = self.files.home.trust_anchor
        same = anchor.is_file() and anchor_of(anchor.read_bytes()) == invitation.anchor
        return same and read_settings(self.files.root).node == invitation.node


def authority_pem(der: bytes) -> bytes:
    """A certificate as PEM text."""
    return ssl.DER_cert_to_PEM_cert(der).encode()
