"""From an update to the lanes of a vector: clip, weight, round, lay out. Nothing here is masked yet.

A node encodes (w / weight_cap) · clip(update), so the clip bounds the encoded, weighted vector; the
weight lane holds round(w / weight_cap · 2^value_bits), the normalisation lane the same times |a|_1 / steps_cap
before it is rounded; each counter is spread over exact limbs.
"""

import numpy as np

from crimson_node.member import Update
from crimson_protocol.entropy import Fill
from crimson_protocol.fixed_point import clip_factor, encode_into, to_limbs
from crimson_protocol.layout import Layout, Words

MICRO = 1_000_000


def encode_update(update: Update, layout: Layout, fill: Fill) -> Words:
    """The unmasked vector of `update`, uint32 (layout.length,). `fill` gives the bytes that round it.

    Raises CallerFault(NOT_FINITE) for NaN or infinity, from `clip_factor`.
    """
    numbers = layout.numbers
    # Not cleared first: every word is written below, and clearing costs nearly as much as one mask.
    vector = np.empty(layout.length, np.uint32)
    for words in layout.counts(vector):
        words[:] = 0
        words[0] = 1
    clip = numbers.clip_micro / MICRO
    factor = clip_factor(update.parameters, clip)
    scale = factor * update.weight / numbers.weight_cap * 2**numbers.value_bits / clip
    for start, stop, view in layout.views(vector, 0, numbers.parameters):
        if update.weight:
            encode_into(view, update.parameters[start:stop], scale, fill, numbers.value_bits)
        else:
            view[:] = 0
    weight = round(update.weight / numbers.weight_cap * 2**numbers.value_bits)
    lanes = [weight]
    if numbers.steps_cap:
        lanes.append(
            round(
                update.weight / numbers.weight_cap * update.steps / numbers.steps_cap * 2**numbers.value_bits
            )
        )
    for counter in update.counters:
        lanes += to_limbs(counter, numbers.value_bits, layout.limbs)
    # Negative top limbs are two's complement modulo 2^32, like every other lane.
    layout.write(vector, numbers.parameters, np.array([lane % 2**32 for lane in lanes], np.uint32))
    return vector
