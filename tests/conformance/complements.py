"""Layers of spikes that list what does not fire where that is less."""

from __future__ import annotations

import numpy as np

SHAPES = [
    # channels in, out, kernel, strides, pads, planes, bits, scheme, listing
    (33, 64, 3, [1, 1], [1, 1, 1, 1], 1, 4, "uniform", "table"),
    (40, 7, 2, [1, 2], [0, 1, 1, 0], 2, 3, "uniform", "table"),
    (12, 24, 3, [2, 2], [1, 1, 1, 1], 1, 8, "uniform", "mask"),
    (16, 128, 5, [1, 1], [3, 3, 3, 3], 1, 2, "uniform", "mask"),
    (96, 192, 1, [1, 1], [0, 0, 0, 0], 3, 2, "uniform", "table"),
    (50, 96, 1, [1, 1], [0, 0, 0, 0], 2, 4, "pow2", "mask"),
    (50, 32, 3, [1, 1], [1, 1, 1, 1], 2, 4, "pow2", "mask64"),
    (150, 64, 1, [1, 1], [0, 0, 0, 0], 1, 2, "uniform", "mask64"),
    (300, 320, 1, [2, 1], [0, 0, 0, 0], 1, 4, "uniform", "table"),
]

_RATES = (0, 0.2, 0.5, 0.8, 1)


def complement_cases(rng, activations, codes, steps):
    """`activations` and `codes` make packed spikes and codes; yields cases as others do.

    A rate is drawn for each row of each plane and step: at some, all inputs fire, or none.
    """
    for n_in, n_out, kernel, strides, pads, planes, bits, scheme, listing in SHAPES:
        height = 5
        rates = rng.choice(_RATES, (steps, height, planes))
        x = np.stack(
            [
                activations(rng, 4, 1, channels=n_in, rate=rate).reshape(4, -1)
                for rate in rates.reshape(-1)
            ]
        )
        x = x.reshape(steps, height, planes, 4, -1).transpose(0, 1, 3, 2, 4)
        weights = codes(rng, (n_out, n_in, kernel, kernel), bits, scheme)
        layer = {
            "channels": n_in, "strides": strides, "pads": pads, "weight_bits": bits,
            "weight_scheme": scheme, "listing": listing, "complement": 1,
        }  # fmt: skip
        reach = int(np.abs(weights.astype(int)).sum((1, 2, 3)).max())
        bias, reset = rng.integers(-9, 9, (2, n_out), dtype=np.int32)
        levels = [bias, rng.integers(1, reach // 8 + 2, n_out, dtype=np.int32), reset]
        scales = np.ones(n_out, np.int32), np.arange(n_out, dtype=np.int64)
        for kind in ("event", "fields")[: 1 + (n_out % 64 == 0)]:
            attributes = {**layer, "kernel": kind, "frac_bits": 1, "leak_shift": 1}
            yield "SpikeConv", [np.ascontiguousarray(x), weights, *levels], attributes, 1
            stored = {**layer, "kernel": kind, "shift": 0}
            yield "SpikeConvPotentials", [np.ascontiguousarray(x), weights, *scales], stored, 1
        wide = {**layer, "kernel": "event", "shift": 0, "wide": 1}
        yield "SpikeConvPotentials", [np.ascontiguousarray(x), weights, *scales], wide, 1
