"""The protocol a second time, from the text of docs/PROTOCOL.md alone.

Uses hashlib, hmac, cbor2 and AES, and nothing of ours; whatever it computes is an independent known answer.
"""

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from math import comb

import cbor2
import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

PREFIX = "crimson/1/"
Words = np.ndarray


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def encode(value: object) -> bytes:
    return cbor2.dumps(value, canonical=True)


def labelled(label: str, *parts: object) -> bytes:
    """H(cbor([label, parts …]))."""
    return sha(encode([PREFIX + label, *parts]))


def commit(label: str, secret: bytes) -> bytes:
    return sha((PREFIX + label).encode() + b"\0" + secret)


def hkdf(ikm: bytes, salt: bytes, info: bytes, length: int = 32) -> bytes:
    """RFC 5869 with SHA-256."""
    key, out, block, counter = hmac.new(salt or bytes(32), ikm, hashlib.sha256).digest(), b"", b"", 1
    while len(out) < length:
        block = hmac.new(key, block + info + bytes([counter]), hashlib.sha256).digest()
        out, counter = out + block, counter + 1
    return out[:length]


def keystream(key: bytes, words: int) -> Words:
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(4 * words))
    return np.frombuffer(stream, "<u4").astype(np.int64)


def merkle(leaves: Sequence[bytes]) -> bytes:
    """RFC 9162 section 2.1.1, by its definition."""

    def root(hashes: Sequence[bytes]) -> bytes:
        if len(hashes) == 1:
            return hashes[0]
        left = 1
        while 2 * left < len(hashes):
            left *= 2
        return sha(b"\1" + root(hashes[:left]) + root(hashes[left:]))

    return root([sha(b"\0" + leaf) for leaf in leaves])


def t0(offer: list, offer_digest: bytes, roster: bytes, graph: bytes, buckets: bytes) -> bytes:
    numbers = offer[8]
    return labelled(
        "T0", 1, *offer[:5], offer_digest, *offer[5:8], roster, graph, buckets, [offer[9], offer[10]], offer[11],
        offer[14], numbers[:3], *numbers[3:7], *numbers[11:13],
    )  # fmt: skip


def t1(t0_digest: bytes, manifests: dict[int, list]) -> bytes:
    nodes = sorted(manifests)
    return labelled("T1", t0_digest, nodes, merkle([encode([node, manifests[node][3]]) for node in nodes]))


def row_leaf(row: list) -> bytes:
    return encode([*row[:4], row[4] and sha(row[4]), row[5] and sha(row[5])])


def sealer(i: int, j: int) -> int:
    return min(i, j) if (i + j) % 2 else max(i, j)


def slices(numbers: list) -> list[tuple[int, int]]:
    """(index, words) of every slice, count words included."""
    parameters, counters, count, ring_bits, value_bits = numbers[:5]
    body = parameters + 1 + (numbers[12] > 0) + counters * -(-96 // value_bits)
    edges = [body * place // count for place in range(count + 1)]
    return [(place, edges[place + 1] - edges[place] + 2 * -(-64 // ring_bits)) for place in range(count)]


def masked(vector: Words, me: int, numbers: list, t0_: bytes, t1_: bytes, seeds: dict, roots: dict) -> bytes:
    """The packed, masked vector of one node of a dense round in one bucket."""
    words, at = vector.astype(np.int64), 0
    for index, length in slices(numbers):
        part = words[at : at + length]
        part += keystream(hkdf(seeds[me], t1_, encode([PREFIX + "self", me, index, length])), length)
        for peer in sorted(set(roots) - {me}):
            secret = pair_secret(me, peer, t0_, roots)
            info = encode([PREFIX + "pair", min(me, peer), max(me, peer), index, length])
            part += (1 if me > peer else -1) * keystream(hkdf(secret, t1_, info), length)
        at += length
    return pack(words, numbers[3])


def pair_secret(i: int, j: int, t0_: bytes, roots: dict[int, bytes]) -> bytes:
    dealer = sealer(i, j)
    return hkdf(roots[dealer], t0_, encode([PREFIX + "pair-secret", dealer, i + j - dealer]))


def pack(words: Words, bits: int) -> bytes:
    whole = sum((int(word) % (1 << bits)) << (place * bits) for place, word in enumerate(words))
    return whole.to_bytes(-(-len(words) * bits // 8), "little")


def stream(seed: bytes, purpose: str, a: int, b: int) -> Iterator[int]:
    """32-bit words of the graph stream."""
    head = (PREFIX + "graph-stream").encode() + bytes([len(purpose)]) + purpose.encode() + seed
    head, counter = head + a.to_bytes(4, "big") + b.to_bytes(4, "big"), 0
    while True:
        block, counter = sha(head + counter.to_bytes(8, "big")), counter + 1
        yield from (int.from_bytes(block[at : at + 4], "big") for at in range(0, 32, 4))


def below(words: Iterator[int], bound: int) -> int:
    mask = (1 << (bound - 1).bit_length()) - 1
    return next(number for number in (word & mask for word in words) if number < bound)


def shuffled(words: Iterator[int], count: int) -> list[int]:
    order = list(range(count))
    for last in range(count - 1, 0, -1):
        other = below(words, last + 1)
        order[last], order[other] = order[other], order[last]
    return order


def buckets(seed: bytes, active: list[int], size: int) -> tuple[tuple[int, ...], ...]:
    order, count = shuffled(stream(seed, "buckets", 0, 0), len(active)), max(1, len(active) // size)
    stops = [size * (place + 1) for place in range(count - 1)] + [len(active)]
    return tuple(
        tuple(sorted(active[at] for at in order[size * place : stop])) for place, stop in enumerate(stops)
    )


def cycles(seed: bytes, purpose: str, nodes: int, degree: int) -> set[frozenset[int]]:
    """Edges of a sparse graph: degree / 2 disjoint cycles, untangled by position."""
    edges: set[frozenset[int]] = set()
    for cycle in range(degree // 2):
        words, ring = stream(seed, purpose, 0, cycle), None
        while ring is None:
            ring = untangled(words, nodes, edges)
        edges |= {frozenset((ring[at], ring[(at + 1) % nodes])) for at in range(nodes)}
    return edges


def untangled(words: Iterator[int], nodes: int, edges: set[frozenset[int]]) -> list[int] | None:
    ring = shuffled(words, nodes)
    for at in range(nodes):
        if frozenset((ring[at], ring[(at + 1) % nodes])) not in edges:
            continue
        for _ in range(1024):
            first, last = sorted((at, below(words, nodes)))
            after = [ring[(end + 1) % nodes] for end in (first, last)]
            ends = {frozenset((ring[first], ring[last])), frozenset(after)}
            if last - first not in (0, 1, nodes - 1) and not ends & edges:
                ring[first + 1 : last + 1] = ring[first + 1 : last + 1][::-1]
                break
        else:
            return None
    return ring


def sparse_degree(nodes: int, corrupt: int, gone: int, reserve: int) -> tuple[int, int]:
    """Least even degree and its bound on corrupt others: 2^-64 privacy and 2^-20 liveness over all nodes."""

    def tail(marked: int, degree: int, bound: int) -> int:
        return sum(
            comb(marked, x) * comb(nodes - 1 - marked, degree - x) for x in range(bound + 1, degree + 1)
        )

    for degree in range(2, nodes, 2):
        bad = next(
            b
            for b in range(degree + 1)
            if (nodes * tail(corrupt, degree, b)) << 64 <= comb(nodes - 1, degree)
        )
        spare = degree - bad - reserve
        if spare >= 0 and (nodes * tail(gone, degree, spare)) << 20 <= comb(nodes - 1, degree):
            return degree, bad
    raise ValueError("no degree serves")
