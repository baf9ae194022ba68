"""The RFC 9162 tree: published roots and proofs, the definitions of the RFC, pymerkle, and forgeries."""

import hashlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import pymerkle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crimson_protocol.errors import CallerFault, PeerFault
from crimson_protocol.log import (
    EMPTY_ROOT,
    MerkleLog,
    inclusion_path,
    leaf_hash,
    merkle_root,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from crimson_protocol.refusal import Refusal

# The reference vectors of the certificate-transparency project.
CT_TEXT = "00 10 2021 3031 40414243 5051525354555657 606162636465666768696a6b6c6d6e6f"
CT_LEAVES = [b"", *map(bytes.fromhex, CT_TEXT.split())]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAF_1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
LEAF_4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
NODE_2_3 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
NODE_4_5 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
NODE_6_7 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
NODE_4_7 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
CT_INCLUSION = {(0, 1): [], (0, 8): [LEAF_1, NODE_2_3, NODE_4_7], (5, 8): [LEAF_4, NODE_6_7, CT_ROOTS[4]]}
GROWTH = {(1, 8): CT_INCLUSION[0, 8], (2, 5): [NODE_2_3, LEAF_4], (6, 8): [NODE_4_5, NODE_6_7, CT_ROOTS[4]]}
LIMIT = 41
LEAVES = [b"leaf %d" % number for number in range(LIMIT)]
SIZES = [(old, new) for new in range(1, LIMIT + 1) for old in range(1, new + 1)]


def grown(leaves: list[bytes]) -> MerkleLog:
    log = MerkleLog()
    for expected, leaf in enumerate(leaves):
        assert log.append(leaf) == expected
    return log


CT_LOG, LOG = grown(CT_LEAVES), grown(LEAVES)
ROOTS = [LOG.root(size) for size in range(LIMIT + 1)]


def split(size: int) -> int:
    return max(1 << power for power in range(20) if 1 << power < size)


def mth(leaves: list[bytes]) -> bytes:
    """RFC 9162 section 2.1.1, word by word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    k = split(len(leaves))
    return hashlib.sha256(b"\1" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 9162 section 2.1.3.1, word by word."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: list[bytes], known: bool) -> list[bytes]:
    """RFC 9162 section 2.1.4.1, word by word."""
    if m == len(leaves):
        return [] if known else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], known), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def refusal(check: Callable[..., None], *arguments: object) -> Refusal:
    with pytest.raises(PeerFault) as caught:
        check(*arguments)
    return caught.value.code


inclusion_refusal = partial(refusal, verify_inclusion)
consistency_refusal = partial(refusal, verify_consistency)


def test_published_roots_and_proofs() -> None:
    assert EMPTY_ROOT.hex() == CT_ROOTS[0]
    for size, root in enumerate(CT_ROOTS):
        assert CT_LOG.root(size).hex() == merkle_root(CT_LEAVES[:size]).hex() == root
        assert grown(CT_LEAVES[:size]).root().hex() == root
    for (index, size), hashes in CT_INCLUSION.items():
        proof = CT_LOG.inclusion_proof(index, size)
        assert [digest.hex() for digest in proof] == hashes
        assert inclusion_path(CT_LEAVES[:size], index) == proof
    for (old, new), hashes in GROWTH.items():
        assert [digest.hex() for digest in CT_LOG.consistency_proof(old, new)] == hashes


def test_roots_and_proofs_agree_with_the_definitions_of_the_rfc_and_verify() -> None:
    assert [mth(LEAVES[:size]) for size in range(LIMIT + 1)] == ROOTS
    for old, new in SIZES:
        proof = LOG.inclusion_proof(old - 1, new)
        assert list(proof) == path(old - 1, LEAVES[:new])
        verify_inclusion(leaf_hash(LEAVES[old - 1]), old - 1, new, proof, ROOTS[new])
        proof = LOG.consistency_proof(old, new)
        assert list(proof) == subproof(old, LEAVES[:new], True)
        verify_consistency(old, ROOTS[old], new, ROOTS[new], proof)


def test_roots_and_proofs_agree_with_pymerkle() -> None:
    oracle = pymerkle.InmemoryTree(algorithm="sha256")
    for leaf in LEAVES:
        oracle.append_entry(leaf)
    assert [oracle.get_root(size) for size in range(LIMIT + 1)] == ROOTS
    for old, new in SIZES:
        theirs = oracle.prove_inclusion(old, new)
        assert tuple(theirs.path[1:]) == LOG.inclusion_proof(old - 1, new)
        # Its consistency proofs have another form, so only what they prove is compared.
        pymerkle.verify_consistency(ROOTS[old], ROOTS[new], oracle.prove_consistency(old, new), old, new)


def test_inclusion_holds_for_that_leaf_index_and_root_alone() -> None:
    for old, size in SIZES[:200]:
        index, leaf, proof = old - 1, leaf_hash(LEAVES[old - 1]), LOG.inclusion_proof(old - 1, size)
        assert inclusion_refusal(leaf, index, size, proof, ROOTS[size - 1]) is Refusal.LOG_WENT_BACK
        for other in set(range(size)) - {index}:
            inclusion_refusal(leaf, other, size, proof, ROOTS[size])
            wrong_leaf = leaf_hash(LEAVES[other])
            assert inclusion_refusal(wrong_leaf, index, size, proof, ROOTS[size]) is Refusal.LOG_WENT_BACK


def changes(proof: tuple[bytes, ...]) -> Iterator[tuple[Refusal | None, tuple[bytes, ...]]]:
    """A hash too many, then each hash replaced or left out, with the code that must follow, if any one."""
    yield Refusal.MALFORMED, (*proof, bytes(32))
    for at in range(len(proof)):
        yield Refusal.LOG_WENT_BACK, (*proof[:at], bytes(32), *proof[at + 1 :])
        yield None, proof[:at] + proof[at + 1 :]


def test_a_proof_with_a_hash_changed_left_out_or_added_is_refused() -> None:
    for old, new in SIZES:
        for code, proof in changes(LOG.inclusion_proof(old - 1, new)):
            refused = inclusion_refusal(leaf_hash(LEAVES[old - 1]), old - 1, new, proof, ROOTS[new])
            assert code in (refused, None)
        for code, proof in changes(LOG.consistency_proof(old, new)):
            assert code in (consistency_refusal(old, ROOTS[old], new, ROOTS[new], proof), None)


def test_a_rewritten_or_shortened_log_is_told() -> None:
    rewritten = grown([b"other", *LEAVES[1:]])
    for old, new in SIZES:
        for proof in (LOG.consistency_proof(old, new), rewritten.consistency_proof(old, new)):
            code = consistency_refusal(old, ROOTS[old], new, rewritten.root(new), proof)
            assert code is Refusal.LOG_WENT_BACK
        if old < new:
            assert consistency_refusal(new, ROOTS[new], old, ROOTS[old], ()) is Refusal.LOG_WENT_BACK


def test_equal_sizes_need_equal_roots_and_the_empty_log_precedes_every_log() -> None:
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, ())
    verify_consistency(0, EMPTY_ROOT, 7, ROOTS[7], LOG.consistency_proof(0, 7))
    for old, old_root, new, new_root in (
        (0, ROOTS[1], 7, ROOTS[7]), (0, ROOTS[1], 0, ROOTS[1]), (0, EMPTY_ROOT, 0, ROOTS[1]),
        (5, ROOTS[5], 5, ROOTS[6]), (7, ROOTS[7], 0, EMPTY_ROOT),
    ):  # fmt: skip
        assert consistency_refusal(old, old_root, new, new_root, ()) is Refusal.LOG_WENT_BACK
    assert consistency_refusal(0, EMPTY_ROOT, 7, ROOTS[7], (bytes(32),)) is Refusal.MALFORMED
    assert consistency_refusal(5, ROOTS[5], 5, ROOTS[5], (ROOTS[5],)) is Refusal.MALFORMED
    assert consistency_refusal(5, ROOTS[5], 6, ROOTS[6], ()) is Refusal.MALFORMED
    assert consistency_refusal(4, ROOTS[4], 9, ROOTS[5], LOG.consistency_proof(4, 5)) is Refusal.MALFORMED


def test_sizes_and_lengths_that_fit_no_proof_are_malformed() -> None:
    leaf, proof, root = leaf_hash(LEAVES[2]), LOG.inclusion_proof(2, 5), ROOTS[5]
    for index, size in ((5, 5), (-1, 5), (0, 0), (2, 2**64), (2**64, 2**65), (0, -1)):
        assert inclusion_refusal(leaf, index, size, proof, root) is Refusal.MALFORMED
    for old, new in ((-1, 5), (2, -5), (2, 2**64), (2**64, 2**64)):
        assert consistency_refusal(old, ROOTS[2], new, root, ()) is Refusal.MALFORMED
    for bad in (b"", bytes(31), bytes(33)):
        for one, path_, other in ((bad, proof, root), (leaf, proof, bad), (leaf, (bad, *proof[1:]), root)):
            assert inclusion_refusal(one, 2, 5, path_, other) is Refusal.MALFORMED
            assert consistency_refusal(2, one, 5, other, path_) is Refusal.MALFORMED


def test_a_leaf_cannot_pass_for_a_node() -> None:
    pair = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(b"".join(pair)) != node_hash(*pair) == merkle_root([b"a", b"b"])


SIZE, HASH = st.integers(0, 2**64 - 1), st.binary(min_size=32, max_size=32)


@given(SIZE, SIZE, st.lists(HASH | st.binary(max_size=40), max_size=70), HASH)
def test_random_proofs_are_refused(first: int, second: int, proof: list[bytes], root: bytes) -> None:
    inclusion_refusal(leaf_hash(b""), first, second, proof, root)
    consistency_refusal(first, leaf_hash(b""), second, root, proof)


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=70), st.data())
def test_one_shot_tree_and_log_agree(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    root = merkle_root(leaves)
    assert root == MerkleLog(map(leaf_hash, leaves)).root() == mth(leaves)
    verify_inclusion(leaf_hash(leaves[index]), index, len(leaves), inclusion_path(leaves, index), root)


def test_asking_for_what_the_log_has_not_reached_is_the_caller_s_fault() -> None:
    log = grown(LEAVES[:5])
    calls = [
        (log.root, (6,)), (log.root, (-1,)), (log.append_hash, (b"leaf",)), (MerkleLog, ([b"leaf"],)),
        (log.inclusion_proof, (5, 5)), (log.inclusion_proof, (-1, 5)), (log.inclusion_proof, (0, 6)),
        (log.consistency_proof, (3, 6)), (log.consistency_proof, (4, 3)), (log.consistency_proof, (-1, 3)),
        (inclusion_path, ([], 0)),
    ]  # fmt: skip
    for call, arguments in calls:
        with pytest.raises(CallerFault):
            call(*arguments)  # type: ignore[operator]
    assert log.size == 5


def test_a_hundred_thousand_leaves_are_fast() -> None:
    size = 100_000
    log, began = MerkleLog(index.to_bytes(32, "big") for index in range(size)), time.perf_counter()
    for old, new in pairwise(range(1, size, 100)):
        verify_inclusion(old.to_bytes(32, "big"), old, size, log.inclusion_proof(old, size), log.root())
        verify_consistency(old, log.root(old), new, log.root(new), log.consistency_proof(old, new))
    assert time.perf_counter() - began < 5  # 2,000 proofs, made and checked; rehashing all takes minutes.
