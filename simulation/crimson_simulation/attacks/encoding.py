"""How a dishonest node encodes: as an honest one does, but without clipping anything."""

from dataclasses import replace

import numpy as np

from crimson_node.encoding import MICRO, encode_update
from crimson_node.member import Update
from crimson_protocol.entropy import Fill
from crimson_protocol.fixed_point import encode_into
from crimson_protocol.layout import Layout, Words


def encode_unclipped(update: Update, layout: Layout, fill: Fill) -> Words:
    """The unmasked vector of `update`, uint32 (layout.length,), its parameters beyond the clip if they are.

    Each lane still fits what a node may put into it (`encode_into` clamps at ±2^value_bits), or the round
    would be lost at the range check with no effect. Raises CallerFault(NOT_FINITE) for NaN or infinity.
    """
    numbers = layout.numbers
    vector = encode_update(replace(update, parameters=np.zeros_like(update.parameters)), layout, fill)
    if update.weight and update.parameters.size:
        words = np.empty(numbers.parameters, np.uint32)
        scale = update.weight / numbers.weight_cap * 2**numbers.value_bits / (numbers.clip_micro / MICRO)
        encode_into(words, update.parameters, scale, fill, numbers.value_bits)
        layout.write(vector, 0, words)
    return vector
