"""One join: from an invitation to the gateway's answer, and on to the policy that lists this site.

Nothing is written before the policy was verified; nothing counts before the gateway has the request. Whatever
happens in between, the same join can be run again and sends the same bytes.
"""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from crimson_node.durable import make_folder, write_file
from crimson_node.enrolment.admission import (
    Federation,
    is_listed,
    refuse_other_node,
    refuse_unwelcome,
    verified_federation,
)
from crimson_node.enrolment.errors import EnrolmentRefused
from crimson_node.enrolment.joining_home import JoiningHome, authority_pem
from crimson_node.enrolment.key_files import fresh_keys, words_of
from crimson_node.enrolment.patience import Brief
from crimson_node.enrolment.refusals import as_refusal, is_final, is_refusal
from crimson_node.enrolment.standing import Standing
from crimson_node.enrolment.token_source import ASK_AGAIN
from crimson_node.home import NodeKeys
from crimson_node.outcome import BadConfiguration
from crimson_node.settings import NodeSettings
from crimson_node.transport.errors import AuthenticationFailed, Problem
from crimson_node.transport.gateway import Gateway, connect
from crimson_node.transport.trust import tls_context
from crimson_protocol.enrolment import EnrolmentState, Invitation
from crimson_protocol.entropy import Entropy
from crimson_protocol.policy.update import Trust
from crimson_protocol.secret.keys import IdentityKey

OVER = ("refused", "revoked", "expired")
"""States of a request that no waiting changes."""


@dataclass(frozen=True)
class Standpoint:
    """Where a join stands. words: the fingerprint. state: the gateway's word for it, None where it was not asked.
    listed: what the signed policy says."""

    words: tuple[str, ...]
    state: EnrolmentState | None = None
    listed: bool = False


@dataclass
class Join:
    """A join that may be begun or followed up: the home is this site's, and the token has not expired.

    settings: as `node.json` will hold them. inspection: where the certificate of the hospital's inspecting proxy
    lies now. key: the invitation's. alone: whether this process holds the home's lock already.
    """

    invitation: Invitation
    home: JoiningHome
    settings: NodeSettings
    inspection: Path | None
    clock: Callable[[], int]
    entropy: Entropy
    key: IdentityKey = field(repr=False)
    alone: bool = False

    @property
    def standing(self) -> Standing:
        """Where the home stands now."""
        return self.home.files.standing()

    def already(self) -> Standpoint:
        """What there is to say where a policy listed this site before."""
        return Standpoint(words_of(self._keys()), listed=True)

    def ask(self) -> Standpoint:
        """Verify the federation, keep keys and request, and hand the request over.

        Raises EnrolmentRefused where policy or gateway do not admit this site, TransportFailed, PeerFault,
        PolicyRefusal, BadConfiguration.
        """
        begun = self.home.request() is not None
        try:
            with self._connected(self.key) as gateway:
                federation = self._verified(gateway)
                keys = self.home.keys() or fresh_keys(self.entropy)
                refuse_unwelcome(federation.policy, self.invitation, keys)
                with self._locked():
                    request = self._keep_request(keys)
                    self.home.keep_federation(federation)
                    state = gateway.join(request)
                    return self._accepted(state, federation)
        except (Problem, AuthenticationFailed) as error:
            if not is_refusal(error):
                raise
            return self._refused_again(error) if begun else self._taken_back(error)

    def write_request(self, path: Path) -> Standpoint:
        """Keep keys and request, and write the request to a file that somebody carries. No network is used."""
        with self._locked():
            write_file(path, self._keep_request(self.home.keys() or fresh_keys(self.entropy)))
        return Standpoint(words_of(self._keys()))

    def follow(self) -> Standpoint:
        """Ask how the request stands; once a policy lists the site, the joining is over. Raises like `ask`."""
        return self._followed(self.state())

    def _followed(self, state: EnrolmentState) -> Standpoint:
        if state.state != "listed":
            with self._locked():
                return self._accepted(state, None)
        with self._connected(self._keys().identity) as gateway:
            federation = self._verified(gateway)
            with self._locked():
                self.home.keep_authorities(self.invitation, self.inspection)
                self.home.keep_federation(federation)
                return self._accepted(state, federation)

    def _accepted(self, state: EnrolmentState, federation: Federation | None) -> Standpoint:
        """The gateway has the request: `node.json` makes this the site's home, where it knows its federation."""
        words = words_of(self._keys())
        refuse_other_node(state, self.invitation.node)
        if state.state in OVER:
            self.home.set_aside()
            text = f"{self.invitation.node} was not let in: {state.state}"
            hint = "ask the operator why. The keys stay in refused-keys: tell the governors if a policy lists them"
            raise EnrolmentRefused(f"{text}, {state.reason}" if state.reason else text, hint)
        if self.home.files.home.trust_anchor.exists():
            self.home.keep_settings(self.settings)
        listed = federation is not None and is_listed(federation.policy, self.invitation.node, self._keys())
        if listed:
            self.home.settle()
        return Standpoint(words, state, listed)

    def _refused_again(self, error: Problem | AuthenticationFailed) -> Standpoint:
        """An invitation that is over by now may have been used by this very request, and not by another site's."""
        had = self.standing is Standing.REQUESTED
        try:
            return self._followed(self.state() if had else self._own_state())
        except (Problem, AuthenticationFailed):
            if had:
                # Keys that governors may list are not thrown away.
                raise as_refusal(error) from error
            return self._taken_back(error)

    def _taken_back(self, error: Problem | AuthenticationFailed) -> Standpoint:
        if self.standing is Standing.JOINING and is_final(error):
            with self._locked():
                self.home.undo()
        raise as_refusal(error) from error

    def _verified(self, gateway: Gateway) -> Federation:
        place = self.home.files.home
        trust: Trust | None = place.read_trust() if place.trust_anchor.exists() else None
        return verified_federation(gateway.policy(), self.invitation, trust, self.clock())

    def _keep_request(self, keys: NodeKeys) -> bytes:
        request = self.home.keep_request(self.invitation, self.key, keys, self.clock())
        self.home.keep_authorities(self.invitation, self.inspection)
        return request

    def _keys(self) -> NodeKeys:
        keys = self.home.keys()
        if keys is None:
            hint = "give the token again with --token-file FILE"
            raise BadConfiguration(f"{self.home.files.keys} holds no keys yet", hint, "no-join")
        return keys

    def state(self) -> EnrolmentState:
        """The gateway's answer under the invitation's key, which it knows longest; else under the site's own."""
        try:
            with self._connected(self.key) as gateway:
                return gateway.enrolment()
        except AuthenticationFailed:
            return self._own_state()

    def _own_state(self) -> EnrolmentState:
        """The gateway's answer under the key that this site asks to be listed with: nobody else's."""
        with self._connected(self._keys().identity) as gateway:
            return gateway.enrolment()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        make_folder(self.home.files.root)
        with nullcontext() if self.alone else self.home.files.home.lock():
            yield

    @contextmanager
    def _connected(self, key: IdentityKey) -> Iterator[Gateway]:
        gateway = connect(self.settings, key, Brief(), self.clock, context=self._context())
        try:
            yield gateway
        finally:
            gateway.close()

    def _context(self) -> ssl.SSLContext:
        """Whom to believe to be the gateway, before any certificate lies in the home."""
        context = tls_context([self.inspection] if self.inspection is not None else [])
        if self.invitation.authority is not None:
            try:
                context.load_verify_locations(cadata=authority_pem(self.invitation.authority).decode())
            except ssl.SSLError as error:
                text = "the token's certificate authority is no certificate"
                raise BadConfiguration(text, ASK_AGAIN, "bad-token") from error
        return context
