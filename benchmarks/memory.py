"""Peak memory of a node that masks and of an enclave that sums, each weighed in a fresh process."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.enclave_process import Peak, RemoteEnclave
from benchmarks.federation import Nodes, numbers, parties, play
from benchmarks.goals import Row, at_most
from benchmarks.node_masking import masking_node
from benchmarks.resident import forget_peak, resident

NODE_GOAL = 2.1
SAME_GOAL = 1.10
ENCLAVE_GOAL = 8.0
"""Vectors of 4 d bytes: sum and scratch, base and new parameters, the artifact's bytes, its ciphertext, and
the signed message around it, which is copied twice on its way through the codec."""


def node_memory(parameters: int, ring_bits: int) -> Row:
    """What the masking step adds to a fresh process that holds its trained update, over the vector's 4 d bytes."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        added = fresh.submit(_masking_peak, parameters, ring_bits).result()
    name = f"node peak memory, d = {parameters:,}, {ring_bits} bits"
    return at_most(name, added / (4 * parameters), NODE_GOAL, "x 4d bytes")


def _masking_peak(parameters: int, ring_bits: int) -> int:
    node = masking_node(20, parameters, ring_bits=ring_bits, value_bits=12)
    before = forget_peak()
    payload = node.mask()
    assert len(payload) == node.dealt.agreement.terms.layout.packed
    return resident("VmHWM") - before


def enclave_memory(small: int, large: int, parameters: int) -> list[Row]:
    """Growth of a fresh enclave process from the opening of Submit through the release: a dense cohort of
    `small` nodes against a sparse one of `large`. Keys, shares and the graph are there before; they grow
    with the cohort and do not depend on the vector."""
    few, many = enclave_peak(small, parameters), enclave_peak(large, parameters)
    at = f"d = {parameters:,}"
    return [
        at_most(
            f"enclave peak memory, n = {large}, {at}", many.growth / (4 * parameters), ENCLAVE_GOAL, "x 4d"
        ),
        at_most(
            f"enclave peak memory, n = {large} over n = {small}, {at}",
            many.growth / few.growth,
            SAME_GOAL,
            "x",
        ),
    ]


def enclave_peak(nodes: int, parameters: int) -> Peak:
    """One round with every node present, against an enclave in a process of its own."""
    knobs = numbers(nodes, parameters)
    sites = Nodes(parties(knobs, nodes))
    with TemporaryDirectory() as spool, RemoteEnclave(knobs, nodes, Path(spool)) as enclave:
        shared = play(enclave, sites, "shared")
        enclave.submit_opens()
        play(enclave, sites, "release", since=("shared", shared))
        return enclave.peak()
