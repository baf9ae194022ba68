"""The enclave follows the policy that the gateway follows: handed over between steps, once for each bundle."""

import asyncio

from crimson_gateway import shelves
from crimson_gateway.context import Context
from crimson_gateway.enclave_link import EnclaveLink, Refused
from crimson_gateway.published import Published, artifact_path, read_regular
from crimson_gateway.settings import SettingsFault
from crimson_gateway.store.letters import publish
from crimson_gateway.store.letters import published as published_release
from crimson_protocol.artifact import MAX_ARTIFACT
from crimson_protocol.errors import PeerFault
from crimson_protocol.receipt import unverified_receipt
from crimson_protocol.refusal import Refusal
from crimson_protocol.wire import link
from crimson_protocol.wire.messages.release import Release
from crimson_protocol.wire.records import MAX_NODES
from crimson_protocol.wire.table import BY_RECORD, Role, parse_envelope

LATER = frozenset({Refusal.WRONG_PHASE.value, "state-not-kept"})
"""A verdict is out, or the enclave's disk is full: asked again at the next step."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds until a policy that the enclave refused is offered again, first and at most."""


class Policies:
    """Remembers which bundle was handed to which instance."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._settled: tuple[bytes, str] | None = None
        self._refused: tuple[bytes, str] | None = None
        self._pause, self._not_before = FIRST_PAUSE, 0.0

    async def bring(self, enclave: EnclaveLink, status: link.Status) -> link.Status:
        """Where the enclave stands once it was told of the newest policy, if it may be told now."""
        published = self._context.published
        enclave.nodes = len(published.policy.roster)
        here = (status.instance, published.tag)
        now = asyncio.get_running_loop().time()
        if here == self._settled or (here == self._refused and now < self._not_before):
            return status
        same = status.policy == published.policy.digest()
        try:
            artifacts = () if same else self._artifacts(published)
            after = await enclave.adopt(published.bundle, artifacts, self._take_release, _cap)
        except Refused as refused:
            if refused.code in LATER:
                return status
            # It stays with the policy that it has. What it lacks may still come: an artifact behind its bundle.
            self._pause = min(2 * self._pause, LONGEST_PAUSE) if here == self._refused else FIRST_PAUSE
            self._refused, self._not_before = here, now + self._pause
            self._context.log.error("the enclave refuses the policy", code=refused.code, again=self._pause)
            return status
        self._context.log.info("the enclave follows", serial=published.policy.serial, epoch=after.epoch)
        self._settled = (after.instance, published.tag)
        return after

    async def _take_release(self, said: link.Said) -> None:
        """File a release that was sealed anew as its model's newest."""
        context = self._context
        nodes = len(context.policy.roster)
        envelope, kind = parse_envelope(said.data, Role.ENCLAVE, nodes)
        if kind.record is not Release:
            raise PeerFault(Refusal.MALFORMED, "something else than a release", "enclave")
        receipt = unverified_receipt(Release.from_bytes(envelope.body, kind.cap(nodes)).receipt)
        digest = await context.spool.put(shelves.RELEASES, said.data)
        async with context.database.writing() as session:
            known = published_release(session, receipt.model)
            if known is None or known.round <= receipt.round:
                publish(session, receipt.model, receipt.round, digest)

    def _artifacts(self, published: Published) -> tuple[bytes, ...]:
        """Initial artifacts of every model, as far as the repository has them: the enclave knows which it lacks."""
        wanted = {rules.initial_digest.hex() for rules in published.policy.models if rules.base is None}
        paths = [artifact_path(self._context.repository, digest) for digest in sorted(wanted)]
        try:
            return tuple(read_regular(path, MAX_ARTIFACT) for path in paths if path is not None)
        except SettingsFault as fault:
            self._context.log.error("an artifact of the repository cannot be read", reason=str(fault))
            return ()


def _cap(record: link.LinkRecord) -> int:
    """Most bytes of an answer: releases are the largest."""
    return BY_RECORD[Release].cap(MAX_NODES) + 256 if record is link.Said else link.MAX_CONTROL
