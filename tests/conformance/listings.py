"""Layers of spikes that are listed by moving the lanes of a mask together, of 32 or 64."""

from __future__ import annotations

from itertools import product

import numpy as np

from hqc.codegen.kernels.listed_pixels import MASKS

SHAPES = [
    # channels in, out, kernel, strides, pads, planes, bits, share that fires
    (12, 24, 3, [1, 1], [1, 1, 1, 1], 1, 4, 0.25),
    (16, 5, 3, [2, 2], [1, 1, 1, 1], 2, 8, 2),
    (33, 7, 2, [1, 2], [0, 1, 1, 0], 1, 3, 2),
    (64, 128, 3, [1, 1], [1, 1, 1, 1], 1, 2, 0.1),
    (96, 96, 1, [1, 1], [0, 0, 0, 0], 3, 2, 0.5),
    (128, 64, 1, [1, 1], [0, 0, 0, 0], 1, 4, 2),
    (66000, 2, 1, [1, 1], [0, 0, 0, 0], 1, 2, 0.5),
]


def listing_cases(rng, activations, codes, steps):
    """`activations` and `codes` make packed spikes and codes; yields cases as others do."""
    for (n_in, n_out, kernel, strides, pads, planes, bits, share), listing in product(
        SHAPES, MASKS
    ):
        size = (1, 2) if n_in > 1000 else (4, 5)
        x = activations(rng, steps, *size, planes, channels=n_in, rate=share)
        x[0, 0, 0] = 0
        weights = codes(rng, (n_out, n_in, kernel, kernel), bits, "uniform")
        layer = {
            "channels": n_in, "strides": strides, "pads": pads, "weight_bits": bits,
            "weight_scheme": "uniform", "listing": listing,
        }  # fmt: skip
        reach = int(np.abs(weights.astype(int)).sum((1, 2, 3)).max())
        bias, reset = rng.integers(-9, 9, (2, n_out), dtype=np.int32)
        levels = [bias, rng.integers(1, reach // 8 + 2, n_out, dtype=np.int32), reset]
        for kind in ("event", "fields")[: 1 + (n_out % 64 == 0)]:
            attributes = {**layer, "kernel": kind, "frac_bits": 1, "leak_shift": 1}
            yield "SpikeConv", [x, weights, *levels], attributes, 1
        scales = np.ones(n_out, np.int32), np.arange(n_out, dtype=np.int64)
        yield "SpikeConvPotentials", [x, weights, *scales], {**layer, "shift": 0}, 1
