"""A running gateway follows its policy repository: the file policy.bundle, looked at every second.

What is read is read once, verified, and used: nothing that changes on the disk afterwards matters. A bundle that is
refused leaves the one before in force.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from crimson_gateway.authentication import Gate
from crimson_gateway.authentication.standing import callers, held_nodes
from crimson_gateway.context import Context, utc_now
from crimson_gateway.enrolment.verdicts import settle
from crimson_gateway.problems import Problem
from crimson_gateway.published import BUNDLE, Published, keep, read_regular, verified
from crimson_gateway.settings import SettingsFault
from crimson_gateway.store.reports import report_once
from crimson_protocol.errors import CrimsonError
from crimson_protocol.policy.bundle import MAX_BUNDLE

LOOK_EVERY, SETTLE_EVERY = 1.0, 3600.0
UNREADABLE = (-1,)


async def known_callers(context: Context, gate: Gate, found: Published | None = None) -> None:
    """Put what the database holds for and against keys in force, for requests that wait as well; with `found`, another
    policy too. Nothing waits in between: a request sees what was before, or all that is new."""
    policy = (found or context.published).policy
    async with context.database.reading() as session:
        known, held = callers(session, policy, utc_now()), held_nodes(session, policy)
    if found is not None:
        context.adopt(found)
    gate.callers, context.held = known, held
    context.metrics.fresh_until.set(context.published.verified.fresh_until)
    context.bells.ring_all()
    context.wake()


class PolicyFollower:
    """Puts a new policy in force between two requests."""

    def __init__(self, context: Context, gate: Gate, clock: Callable[[], float] = time.time) -> None:
        self._context, self._gate, self._clock = context, gate, clock
        self._path = context.repository / BUNDLE
        self._looked_at: tuple[int, ...] | None = None

    async def run(self) -> None:
        """Until cancelled. Whatever goes wrong costs one look."""
        settled = 0.0
        while True:
            try:
                await self.look()
                if time.monotonic() - settled > SETTLE_EVERY or not settled:
                    settled = time.monotonic()
                    await self.settle()
            except (SQLAlchemyError, Problem):
                # A full disk or a locked database: the same file is looked at again.
                self._looked_at, settled = None, 0.0
                self._context.log.exception("following the policy failed")
            except Exception:
                # A bug: this file is left alone, and the policy before stays in force.
                self._context.log.exception("following the policy failed")
            await asyncio.sleep(LOOK_EVERY)

    async def look(self) -> None:
        """Put the file's policy in force, where it is another one, and a good one. A file that did not change since
        the last look is not read again."""
        context, data = self._context, b""
        try:
            seen = _signature(self._path)
            if seen == self._looked_at:
                return
            self._looked_at = seen
            data = await asyncio.to_thread(read_regular, self._path, MAX_BUNDLE)
            if data == context.published.bundle:
                return
            now, before = int(self._clock()), context.published
            found = await asyncio.to_thread(verified, before.verified.trust, data, now, before.policy)
            await asyncio.to_thread(keep, context.home, found)
        except CrimsonError as error:
            await self._refused(data, error.code.value, error.text)
        except SettingsFault as fault:
            await self._refused(data, "file", fault.text)
        except OSError as error:
            # The file is not there, or what is trusted could not be noted.
            await self._unreadable(str(error.strerror))
        else:
            await self._adopt(found)

    async def _adopt(self, found: Published) -> None:
        context, before = self._context, self._context.policy.serial
        # Whoever began with the policy before keeps it to the end of the request.
        await known_callers(context, self._gate, found)
        context.log.info("policy in force", serial=found.policy.serial, before=before)
        await self.settle()

    async def settle(self) -> None:
        """Close requests that the policy in force has answered, and those that nobody answered in time."""
        context = self._context
        if context.published.verified.fresh_until < self._clock():
            context.log.warning("the policy is not fresh any more: nodes and enclave will refuse it")
        async with context.database.writing() as session:
            settle(session, context.policy, utc_now())
        await known_callers(context, self._gate)

    async def _refused(self, data: bytes, code: str, text: str) -> None:
        context = self._context
        context.log.warning("policy refused", code=code, reason=text, in_force=context.policy.serial)
        context.metrics.policies_refused.labels(code).inc()
        async with context.database.writing() as session:
            subject = hashlib.sha256(data).hexdigest()
            report_once(session, "policy-refused", subject, "gateway", utc_now(), code)

    async def _unreadable(self, reason: str) -> None:
        if self._looked_at != UNREADABLE:
            self._looked_at = UNREADABLE
            await self._refused(b"", "file", reason)


def _signature(path: Path) -> tuple[int, ...]:
    """What tells one state of a file from another. Raises OSError."""
    known = path.stat(follow_symlinks=False)
    return known.st_ino, known.st_size, known.st_mtime_ns, known.st_ctime_ns
