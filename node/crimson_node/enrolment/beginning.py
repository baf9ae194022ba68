"""Before anything is asked or written: whether this token may be answered from this home, with these choices."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from crimson_node.enrolment.errors import EnrolmentRefused
from crimson_node.enrolment.joining import Join
from crimson_node.enrolment.joining_home import JoiningHome
from crimson_node.enrolment.standing import EnrolmentFiles, Standing
from crimson_node.enrolment.token_source import Invited
from crimson_node.outcome import BadConfiguration
from crimson_node.settings import NodeSettings, address, read_settings
from crimson_node.transport.trust import choose_proxy
from crimson_protocol.enrolment import Invitation
from crimson_protocol.entropy import Entropy


@dataclass(frozen=True)
class Choices:
    """What the site decides itself: the file to train on, its proxy, and the authority of one that opens TLS.

    Raises BadConfiguration for what cannot be used, a password on the command line above all.
    """

    data: Path | None = None
    proxy: str | None = field(default=None, repr=False)
    inspection: Path | None = None

    def __post_init__(self) -> None:
        for path, option in ((self.data, "--data"), (self.inspection, "--inspection-ca")):
            if path is not None and not path.is_file():
                raise BadConfiguration(f"{path} is not there", f"give a file with {option}, or leave it out")
        if self.proxy is not None and "@" in self.proxy:
            hint = "set HTTPS_PROXY, or write proxy into node.json once you have joined"
            text = "the proxy's password was given on the command line, where others can read it"
            raise BadConfiguration(text, hint, "password-in-argv")

    def over(self, settings: NodeSettings, files: EnrolmentFiles) -> NodeSettings:
        """The settings with these choices in their places; the certificate will lie in the home."""
        if self.data is not None:
            settings = replace(settings, data=self.data.absolute())
        if self.proxy is not None:
            settings = replace(settings, proxy=self.proxy)
        if self.inspection is not None:
            settings = replace(settings, inspection_ca_file=files.inspection)
        choose_proxy(settings.gateway, settings.proxy)
        return settings


def begin(
    files: EnrolmentFiles,
    invited: Invited | None,
    choices: Choices,
    clock: Callable[[], int],
    entropy: Entropy,
    *,
    alone: bool = False,
) -> Join:
    """The join that a token, or without one the home, stands for. Nothing is written, made or sent.

    `alone`: this process holds the home's lock.

    Raises EnrolmentRefused(invitation-expired) and BadConfiguration (home-left, home-taken, join-under-way, no-join).
    """
    home = JoiningHome(files)
    invitation = invited.invitation if invited else home.invitation()
    standing = home.refuse_other_site(invitation, invited.key if invited else None)
    if standing is Standing.EMPTY and invitation.expires <= clock():
        hint = "ask the operator for a new token"
        raise EnrolmentRefused("the token has expired; no key was made", hint, "invitation-expired")
    settings = choices.over(_settings(files, invitation), files)
    return Join(
        invitation=invitation,
        home=home,
        settings=settings,
        inspection=choices.inspection or settings.inspection_ca_file,
        clock=clock,
        entropy=entropy,
        key=invited.key if invited else home.invitation_key(),
        alone=alone,
    )


def _settings(files: EnrolmentFiles, invitation: Invitation) -> NodeSettings:
    """The settings that the home has, else those of the invitation."""
    if files.settings.exists():
        return read_settings(files.root)
    authority = files.authority if invitation.authority is not None else None
    gateway = address(invitation.gateway)
    return NodeSettings(gateway, invitation.node, None, invitation.federation, authority)
