"""Windows of one pixel on potentials: tiles of positions, and their digits by dot products."""

from __future__ import annotations

import itertools

import numpy as np

DOT_BITS = (128, 256, 512)


def pointwise_cases(rng, time_steps, codes, rescaling):
    """Cases of PotentialConv: (op, inputs, attributes, the first constant).

    Sizes leave tails of positions, of outputs and of the four inputs of a word; potentials and
    codes reach the ends of their bytes.
    """
    for dot_bits, (channels, outputs, bits, scheme, size), wide in itertools.product(
        (*DOT_BITS, 0),
        ((45, 40, 2, "uniform", 3), (33, 100, 4, "pow2", 2), (64, 18, 8, "uniform", 1)),
        (0, 1),
    ):
        end = 2 ** (8 * (size + wide) - 1)
        x = rng.integers(-end, end, (time_steps, 3, 5, -(-channels // 32) * 32), dtype=np.int32)
        x[0, 0, :2] = [[-end], [end - 1]]
        x[..., channels:] = 0
        weights = codes(rng, (outputs, channels, 1, 1), bits, scheme)
        values, attributes = rescaling(rng, outputs, end * 2**bits)
        attributes |= {"weight_bits": bits, "weight_scheme": scheme, "wide": wide}
        attributes |= {"strides": [1, 1], "pads": [0, 0, 0, 0], "channels": channels}
        if dot_bits:
            attributes |= {"dot_bits": dot_bits, "input_bytes": size + wide}
        yield "PotentialConv", [x, weights, *values], attributes, 1
