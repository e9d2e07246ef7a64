"""Frames by dot products: bytes with and without a sign, to neurons and to potentials."""

from __future__ import annotations

import itertools

import numpy as np

from tests.conformance.pointwise import DOT_BITS

SHAPES = [
    # channels in, out, kernel, strides, pads, bits, scheme, frame
    (2, 12, (3, 3), [1, 1], [1, 1, 1, 1], 8, "uniform", (6, 37)),
    (3, 96, (3, 5), [2, 2], [1, 2, 1, 2], 4, "uniform", (7, 19)),
    (1, 33, (1, 4), [1, 3], [2, 1, 0, 2], 2, "pow2", (3, 8)),
    (11, 160, (2, 1), [1, 1], [0, 0, 1, 0], 4, "pow2", (2, 3)),
]
NEURONS = (
    {"frac_bits": 4, "leak_shift": 1},
    {"frac_bits": 2, "exact": 1},
    {"frac_bits": 3, "leak_shift": 1, "soft_reset": 1},
    {"frac_bits": 2, "leak_multiplier": 0},
)
IMAGES = ((0, 255, np.uint8), (-128, 127, np.int8))


def dotted_frame_cases(rng, time_steps, codes, levels, rescaling):
    """Cases of DenseConv and FrameConvPotentials: (op, inputs, attributes, the first constant).

    Half of a frame is empty, one step is that before it, and both ends of the type are in it.
    """
    for dot_bits, (shape, neurons), (low, high, dtype) in itertools.product(
        DOT_BITS, zip(SHAPES, NEURONS, strict=True), IMAGES
    ):
        n_in, n_out, kernel, strides, pads, bits, scheme, size = shape
        image = rng.integers(low, high + 1, (time_steps, n_in, *size)).astype(dtype)
        image[:, :, size[0] // 2 :] = 0
        image[0, 0, 0, :2] = low, high
        image[1] = image[0]
        image[1, -1, 0, -1] = high
        weights = codes(rng, (n_out, n_in, *kernel), bits, scheme)
        reach = int(np.abs(weights.astype(int)).sum((1, 2, 3)).max()) * 64
        attributes = {
            "strides": strides, "pads": pads, "kernel": "dense",
            "weight_bits": bits, "weight_scheme": scheme, "dot_bits": dot_bits,
        }  # fmt: skip
        inputs = [image, weights, *levels(rng, n_out, neurons, reach)]
        yield "DenseConv", inputs, {**attributes, **neurons}, 1
        values, shift = rescaling(rng, n_out, reach * 4)
        yield "FrameConvPotentials", [image, weights, *values], {**attributes, **shift}, 1
