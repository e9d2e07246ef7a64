"""Layers of spikes by dot products: inputs of several planes, as bytes, by unpacked codes."""

from __future__ import annotations

import itertools

import numpy as np

from tests.conformance.pointwise import DOT_BITS

SHAPES = [
    # channels in, out, kernel, strides, pads, planes, bits, scheme
    (384, 96, 1, [1, 1], [0, 0, 0, 0], 3, 4, "uniform"),
    (45, 70, 1, [1, 1], [0, 0, 0, 0], 7, 8, "uniform"),
    (33, 5, 2, [2, 1], [0, 1, 1, 0], 2, 3, "pow2"),
    (3, 33, 3, [1, 2], [1, 1, 1, 1], 1, 2, "uniform"),
    (64, 40, 1, [2, 2], [0, 0, 0, 0], 4, 2, "pow2"),
    (30000, 16, 1, [1, 1], [0, 0, 0, 0], 2, 4, "pow2"),
]
SIZES = ((4, 5), (3, 7), (4, 4), (5, 3), (7, 5), (1, 1))
NEURONS = (
    {"frac_bits": 1, "leak_shift": 1},
    {"frac_bits": 2, "exact": 1},
    {"frac_bits": 3, "leak_shift": 1, "soft_reset": 1},
    {"frac_bits": 0, "leak_shift": 1, "potential_bits": 16},
)


def dense_cases(rng, time_steps, activations, codes):
    """Cases of SpikeConv: (op, inputs, attributes, the first constant).

    Sizes leave tails of positions, of outputs and of the inputs of a word; at one position all
    planes of all inputs fire, at another one none.
    """
    for dot_bits, (shape, size, neurons) in itertools.product(
        DOT_BITS, zip(SHAPES, SIZES, itertools.cycle(NEURONS), strict=False)
    ):
        n_in, n_out, kernel, strides, pads, planes, bits, scheme = shape
        x = activations(rng, time_steps, *size, planes, channels=n_in, rate=0.5)
        x[0, 0, 0] = activations(rng, planes, channels=n_in, rate=2)
        x[1, -1, -1] = 0
        weights = codes(rng, (n_out, n_in, kernel, kernel), bits, scheme)
        reach = int(np.abs(weights.astype(int)).sum((1, 2, 3)).max()) << planes
        spread = max(reach // 16, 1) << neurons["frac_bits"]
        values = [
            rng.integers(-spread // 4, spread // 4 + 1, n_out, dtype=np.int32),
            rng.integers(1, spread + 1, n_out, dtype=np.int32),
            rng.integers(-3, 4, n_out, dtype=np.int32),
        ]
        attributes = {
            "channels": n_in, "strides": strides, "pads": pads, "kernel": "dense",
            "weight_bits": bits, "weight_scheme": scheme, "dot_bits": dot_bits, **neurons,
        }  # fmt: skip
        yield "SpikeConv", [x, weights, *values], attributes, 1
