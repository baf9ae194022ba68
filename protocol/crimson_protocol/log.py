"""The append-only log: the Merkle tree of RFC 9162 section 2.1 with SHA-256, its proofs and their checks.

A leaf and an inner node are hashed under different prefixes, so that neither can pass for the other. The
same tree over a fixed list of leaves (`merkle_root`, `inclusion_path`) serves manifests.
Every hash has 32 bytes, every proof is a sequence of hashes, indexes count from 0.
"""

import hashlib
from collections.abc import Iterable, Sequence

from crimson_protocol.errors import CallerFault, PeerFault
from crimson_protocol.refusal import Refusal

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

_SIZE_LIMIT = 1 << 64


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256(0x00 ‖ leaf), RFC 9162 section 2.1.1; `leaf` of any length."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right), RFC 9162 section 2.1.1; both of 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class MerkleLog:
    """A log that only grows. Root and proofs of every earlier size stay available and never change, so a
    state that holds (log, size) stays valid however often the log was extended afterwards.

    Memory is about two hashes a leaf: `_levels[k][i]` is the root of the leaves [i·2^k, (i + 1)·2^k), kept
    once they are all there. An append costs one hash on average, a root O(log n), a proof O(log² n).
    """

    __slots__ = ("_levels",)

    def __init__(self, leaf_hashes: Iterable[bytes] = ()) -> None:
        """A log of the given leaf hashes (not leaves), as for a log read back from storage."""
        self._levels: list[list[bytes]] = [[]]
        for digest in leaf_hashes:
            self.append_hash(digest)

    @property
    def size(self) -> int:
        """Leaves in the log."""
        return len(self._levels[0])

    def append(self, leaf: bytes) -> int:
        """Append a leaf of any length; its index."""
        return self.append_hash(leaf_hash(leaf))

    def append_hash(self, digest: bytes) -> int:
        """Append a leaf by its `leaf_hash`; its index. Raises CallerFault unless it has 32 bytes."""
        if len(digest) != HASH_BYTES:
            raise CallerFault(Refusal.WRONG_LENGTH, f"a leaf hash has {HASH_BYTES} bytes")
        index = position = self.size
        level = 0
        self._levels[0].append(digest)
        while position % 2 == 1:  # A right child completes its parent.
            left, right = self._levels[level][-2:]
            level, position = level + 1, position // 2
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level].append(node_hash(left, right))
        return index

    def root(self, size: int | None = None) -> bytes:
        """The root over the first `size` leaves, all by default: MTH of RFC 9162 section 2.1.1.

        Raises CallerFault for a size the log has not reached.
        """
        width = self.size if size is None else size
        self._require(0 <= width <= self.size)
        return self._range_root(0, width) if width else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int) -> tuple[bytes, ...]:
        """PATH(index, D_size) of RFC 9162 section 2.1.3.1, from the leaf's sibling up to the root's child.

        Raises CallerFault unless 0 <= index < size <= self.size.
        """
        self._require(0 <= index < size <= self.size)
        proof: list[bytes] = []
        start, width = 0, size
        while width > 1:
            left = _left_width(width)
            if index < start + left:
                proof.append(self._range_root(start + left, width - left))
                width = left
            else:
                proof.append(self._range_root(start, left))
                start, width = start + left, width - left
        return tuple(reversed(proof))

    def consistency_proof(self, old: int, new: int) -> tuple[bytes, ...]:
        """PROOF(old, D_new) of RFC 9162 section 2.1.4.1; empty where old is 0 or equal to new.

        Raises CallerFault unless 0 <= old <= new <= self.size.
        """
        self._require(0 <= old <= new <= self.size)
        if old == 0:
            return ()
        proof: list[bytes] = []
        start, width = 0, new
        while old - start != width:
            left = _left_width(width)
            if old - start <= left:
                proof.append(self._range_root(start + left, width - left))
                width = left
            else:
                proof.append(self._range_root(start, left))
                start, width = start + left, width - left
        if start > 0:  # At start 0 this is the old root itself, which the verifier has.
            proof.append(self._range_root(start, width))
        return tuple(reversed(proof))

    def _range_root(self, start: int, width: int) -> bytes:
        """MTH of `width` >= 1 leaves from `start`, a multiple of the greatest power of two in `width`."""
        complete: list[bytes] = []
        while width > 0:
            level = width.bit_length() - 1
            complete.append(self._levels[level][start >> level])
            start, width = start + (1 << level), width - (1 << level)
        digest = complete.pop()
        while complete:
            digest = node_hash(complete.pop(), digest)
        return digest

    def _require(self, holds: bool) -> None:
        if not holds:
            raise CallerFault(Refusal.OUT_OF_RANGE, f"no such index or size in a log of {self.size} leaves")


def _left_width(width: int) -> int:
    """The greatest power of two below `width` >= 2: the leaves of a tree's left child."""
    return 1 << ((width - 1).bit_length() - 1)


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The root over all `leaves`, each of any length; EMPTY_ROOT where there are none."""
    return MerkleLog(map(leaf_hash, leaves)).root()


def inclusion_path(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The proof that leaves[index] stands at `index` under merkle_root(leaves). Raises CallerFault."""
    return MerkleLog(map(leaf_hash, leaves)).inclusion_proof(index, len(leaves))


def verify_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf with `leaf_hash` stands at `index` of the `size` leaves under `root`.

    Raises PeerFault MALFORMED where sizes or lengths fit no proof, LOG_WENT_BACK where the proof leads to
    another root. Source: RFC 9162 section 2.1.3.2, whose step numbers stand beside the code.
    """
    _require_hashes(leaf_hash, root, *proof)
    if not 0 <= index < size < _SIZE_LIMIT:  # 1
        raise PeerFault(Refusal.MALFORMED, "leaf index outside the log")
    fn, sn = index, size - 1  # 2
    r = leaf_hash  # 3
    for p in proof:  # 4
        if sn == 0:  # 4.1
            raise PeerFault(Refusal.MALFORMED, "inclusion proof too long")
        if fn & 1 or fn == sn:  # 4.2
            r = node_hash(p, r)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1  # 4.3
    if sn != 0:  # 5
        raise PeerFault(Refusal.MALFORMED, "inclusion proof too short")
    if r != root:  # 5
        raise PeerFault(Refusal.LOG_WENT_BACK, "the log does not hold this leaf at this index")


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the log of `new_size` leaves under `new_root` begins with that of `old_size`, `old_root`.

    RFC 9162 section 2.1.4.2 covers 0 < old_size < new_size; its step numbers stand beside the code. Equal
    sizes need equal roots and the empty log precedes every log, both with an empty proof.
    Raises PeerFault MALFORMED where sizes or lengths fit no proof, LOG_WENT_BACK where the new log is
    shorter or does not extend the old one.
    """
    _require_hashes(old_root, new_root, *proof)
    if not (0 <= old_size < _SIZE_LIMIT and 0 <= new_size < _SIZE_LIMIT):
        raise PeerFault(Refusal.MALFORMED, "log size out of range")
    if new_size < old_size:
        raise PeerFault(Refusal.LOG_WENT_BACK, f"the log had {old_size} leaves and now has {new_size}")
    if old_size in (0, new_size):
        if proof:
            raise PeerFault(Refusal.MALFORMED, "consistency proof where none is needed")
        if old_root != (new_root if old_size == new_size else EMPTY_ROOT):
            raise PeerFault(Refusal.LOG_WENT_BACK, "another root than before for the same leaves")
        if new_size == 0 and new_root != EMPTY_ROOT:
            raise PeerFault(Refusal.LOG_WENT_BACK, "not the root of the empty log")
        return
    fr, sr = _extend(old_size, old_root, new_size, proof)
    if fr != old_root or sr != new_root:  # 7
        raise PeerFault(Refusal.LOG_WENT_BACK, "the new log does not extend the old one")


def _extend(old_size: int, old_root: bytes, new_size: int, proof: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The roots (fr, sr) of the old and the new log that `proof` leads to: steps 1 to 6 of 2.1.4.2."""
    if not proof:  # 1
        raise PeerFault(Refusal.MALFORMED, "consistency proof is empty")
    path = list(proof)
    if old_size & (old_size - 1) == 0:  # 2
        path.insert(0, old_root)
    fn, sn = old_size - 1, new_size - 1  # 3
    while fn & 1:  # 4
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]  # 5
    for c in path[1:]:  # 6
        if sn == 0:  # 6.1
            raise PeerFault(Refusal.MALFORMED, "consistency proof too long")
        if fn & 1 or fn == sn:  # 6.2
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1  # 6.3
    if sn != 0:  # 7
        raise PeerFault(Refusal.MALFORMED, "consistency proof too short")
    return fr, sr


def _require_hashes(*digests: bytes) -> None:
    if any(len(digest) != HASH_BYTES for digest in digests):
        raise PeerFault(Refusal.MALFORMED, f"a hash in a log proof has {HASH_BYTES} bytes")
