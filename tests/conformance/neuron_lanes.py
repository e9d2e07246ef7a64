"""Layers whose neurons are computed side by side in lanes of words, up to the ends of the lanes."""

from __future__ import annotations

import numpy as np

PLACES = {"strides": [1, 1], "pads": [0, 0, 0, 0]}
NEVER = 2**31 - 1

FORMS = [
    # lanes, bits of each
    (2, 16),
    (2, 32),
    (4, 16),
]


def lane_cases(rng, activations, codes, steps):
    """`activations` and `codes` make packed spikes and codes; yields cases as others do."""
    layers = [
        # channels in, out, kernel, planes, bits, scheme
        (12, 24, 3, 1, 4, "pow2"),
        (33, 96, 1, 2, 2, "uniform"),
        (40, 7, 2, 1, 8, "uniform"),
        (64, 45, 1, 1, 4, "uniform"),
        (17, 161, 1, 3, 3, "uniform"),
    ]
    for lanes, bits in FORMS:
        neurons = {"leak_shift": 1, "potential_bits": bits, "lanes": lanes}
        for n_in, n_out, kernel, planes, weight_bits, scheme in layers:
            x = activations(rng, steps, 4, 3, planes, channels=n_in)
            weights = codes(rng, (n_out, n_in, kernel, kernel), weight_bits, scheme)
            reach = int(np.abs(weights.astype(int)).sum((1, 2, 3)).max()) * (2**planes - 1)
            frac_bits = (2 ** (bits - 2) // reach).bit_length() - 1
            unit = 1 << frac_bits
            attributes = {
                "channels": n_in, "weight_bits": weight_bits, "weight_scheme": scheme,
                "frac_bits": frac_bits, **PLACES, **neurons,
            }  # fmt: skip
            levels = [
                rng.integers(-unit, unit + 1, n_out, dtype=np.int32),
                rng.integers(1, reach * unit // 12 + 2, n_out, dtype=np.int32),
                np.zeros(n_out, np.int32),
            ]
            yield "SpikeConv", [x, weights, *levels], attributes, 1
        yield from _of_frames(rng, codes, steps, neurons)
    yield from _at_their_ends(rng, activations, steps)


def _of_frames(rng, codes, steps, neurons):
    """Frames of both kinds, whose products fit lanes of 16 bits, some as they were before."""
    for n_out, image, most in ((12, np.uint8, 255), (45, np.int8, 127), (160, np.uint8, 9)):
        factors = [-1, 0, 1] if image is np.int8 else [0, 1]
        shape = (steps, 2, 5, 6)
        frames = (rng.integers(0, most + 1, shape) * rng.choice(factors, shape)).astype(image)
        frames[-1] = frames[-2]
        weights = codes(rng, (n_out, 2, 2, 2), 3, "uniform")
        levels = [
            rng.integers(-9, 9, n_out, dtype=np.int32),
            rng.integers(1, 4 * most, n_out, dtype=np.int32),
            np.zeros(n_out, np.int32),
        ]
        for kernel in ("sparse", "dense"):
            attributes = {
                "weight_bits": 3, "weight_scheme": "uniform", "frac_bits": 0, "kernel": kernel,
                "strides": [1, 2], "pads": [1, 0, 0, 1], **neurons,
            }  # fmt: skip
            yield "DenseConv", [frames, weights, *levels], attributes, 1


def _at_their_ends(rng, activations, steps):
    """Three steps to the greatest and the least potentials that lanes hold, or all but."""
    for (lanes, bits), frac_bits, bias in zip(FORMS, (0, 16, 0), (55, 3641928, 55), strict=True):
        most = 2 ** (bits - 1) - 1
        x = activations(rng, steps, 2, 2, 1, channels=147, rate=2)
        x[:, 0, 0] = activations(rng, steps, 1, channels=147, rate=0.5)
        signs = np.array([1, 1, -1, -1, 1, 0, -1])
        weights = np.broadcast_to(signs[:, None, None, None] * 127, (7, 147, 1, 1)).astype(np.int8)
        threshold = np.array([most - 1, NEVER, 1, NEVER, 1, 1, most])
        levels = [v.astype(np.int32) for v in (signs * bias, threshold, np.zeros(7))]
        attributes = {
            "channels": 147, "weight_bits": 8, "weight_scheme": "uniform", "frac_bits": frac_bits,
            "leak_shift": 1, "potential_bits": bits, "lanes": lanes, **PLACES,
        }  # fmt: skip
        yield "SpikeConv", [x, weights, *levels], attributes, 1
