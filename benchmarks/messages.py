"""Bytes of everything that a node sends in a round, over the float32 vector that it would send in the clear."""

from dataclasses import replace
from statistics import fmean

from benchmarks.federation import LocalEnclave, Nodes, numbers, parties, play
from benchmarks.goals import Row, at_most
from crimson_protocol.layout import Layout

PACKINGS = ((32, 16, 1.05), (20, 12, 0.68))
"""(ring bits, value bits, goal) of the two packings that are promised."""


def message_bodies(nodes: int, parameters: int) -> list[Row]:
    """Bodies of Advertise, Share, Submit with its vector, Confirm and Unmask, in a dense round without drops.

    The control messages are those of one real round over a short vector. They do not depend on the
    vector's length, but for the few bytes of the integer that states it; the vector's own bytes follow
    from the layout. Headers of HTTP and TLS are not counted.
    """
    short = numbers(nodes, 64)
    made = parties(short, nodes)
    sites = Nodes(made)
    play(LocalEnclave(made), sites, "release")
    controls = list(sites.controls.values())
    rows = []
    for ring_bits, value_bits, goal in PACKINGS:
        knobs = replace(short, parameters=parameters, ring_bits=ring_bits, value_bits=value_bits)
        packed, clear = Layout(knobs).packed, 4 * parameters
        name = f"message bodies, n = {nodes}, d = {parameters:,}, {ring_bits} bits"
        mean, most = fmean(controls) + packed, max(controls) + packed
        rows.append(at_most(f"{name}, mean node", mean / clear, goal, "x float32"))
        rows.append(at_most(f"{name}, largest node", most / clear, goal, "x float32"))
    return rows
