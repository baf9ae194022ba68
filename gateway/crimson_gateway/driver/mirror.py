"""A copy of the enclave's log, kept to compute consistency proofs. It judges nothing: nodes do."""

from crimson_gateway.enclave_link import EnclaveLink
from crimson_gateway.problems import Problem
from crimson_gateway.store.database import Database
from crimson_gateway.store.log_leaves import leaves_from, replace_leaves
from crimson_protocol.errors import PeerFault
from crimson_protocol.log import MerkleLog, leaf_hash
from crimson_protocol.refusal import Refusal


class LogMirror:
    """Leaves in the database, hashes in memory."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tree = MerkleLog()

    @property
    def size(self) -> int:
        """Leaves that are here."""
        return self._tree.size

    async def load(self) -> None:
        """Read the copy back after a restart."""
        async with self._database.reading() as session:
            self._tree = MerkleLog(map(leaf_hash, leaves_from(session, 0)))

    def proof(self, first: int, second: int) -> tuple[bytes, ...]:
        """Consistency proof between two sizes. Raises Problem(log-too-short, bad-parameter)."""
        if first > second:
            raise Problem("bad-parameter", "first is at most second")
        if second > self._tree.size:
            raise Problem("log-too-short", f"the copy has {self._tree.size} leaves")
        return self._tree.consistency_proof(first, second)

    async def sync(self, link: EnclaveLink, size: int) -> None:
        """Fetch what the log has beyond the copy."""
        await self._extend(link, self._tree.size, size)

    async def compare(self, link: EnclaveLink, size: int) -> int:
        """Read the log of another instance from the start; how many leaves of the copy it does not have.

        A restarted enclave forgets leaves that nothing durable rested on. Whether it forgot more is for
        nodes to judge, by the checkpoints that they saw.
        """
        async with self._database.reading() as session:
            ours = leaves_from(session, 0)
        common = 0
        while common < min(len(ours), size):
            theirs = await self._page(link, common)
            same = 0
            for mine, other in zip(ours[common : common + len(theirs)], theirs, strict=False):
                if mine != other:
                    break
                same += 1
            common += same
            if same < len(theirs):
                break
        dropped = len(ours) - common
        if dropped:
            async with self._database.writing() as session:
                replace_leaves(session, common, ())
            self._tree = MerkleLog(map(leaf_hash, ours[:common]))
        await self._extend(link, common, size)
        return dropped

    async def _extend(self, link: EnclaveLink, start: int, size: int) -> None:
        while start < size:
            leaves = await self._page(link, start)
            async with self._database.writing() as session:
                replace_leaves(session, start, leaves)
            for leaf in leaves:
                self._tree.append(leaf)
            start += len(leaves)

    async def _page(self, link: EnclaveLink, start: int) -> tuple[bytes, ...]:
        answer = await link.read_log(start)
        if answer.start != start or not answer.leaves:
            raise PeerFault(Refusal.MALFORMED, "the log ends before its own size", "enclave")
        return answer.leaves
