"""Every kernel on every ISA equals its op's reference, over shapes with tails of all kinds."""

from __future__ import annotations

import itertools
import math
import subprocess
from collections import Counter
from contextlib import nullcontext
from functools import cache

import numpy as np
import onnx_ir as ir
import pytest

from hqc.codegen.kernels import find_kernel
from hqc.codegen.kernels.dotted_tiles import dot_bits
from hqc.codegen.kernels.kernel_base import _KERNELS as KERNELS
from hqc.codegen.kernels.listed_pixels import listing_on
from hqc.codegen.kernels.spike_conv_planes import suits_planes
from hqc.dialect import ops
from hqc.errors import UnsupportedModelError
from hqc.targets import load_target
from tests.conformance.channels import channel_cases
from tests.conformance.complements import complement_cases
from tests.conformance.dense_spikes import dense_cases
from tests.conformance.dotted_frames import dotted_frame_cases
from tests.conformance.harness import Case, outputs
from tests.conformance.listings import listing_cases
from tests.conformance.neuron_lanes import lane_cases
from tests.conformance.pointwise import pointwise_cases
from tests.small_models import model_of

NEURONS = [
    {"frac_bits": 4, "leak_shift": 1},
    {"frac_bits": 2, "exact": 1},
    {"frac_bits": 0},
    {"frac_bits": 3, "leak_shift": 1, "soft_reset": 1},
    {"frac_bits": 2, "exact": 1, "soft_reset": 1},
    {"frac_bits": 3, "leak_multiplier": 3, "leak_shift": 2},
    {"frac_bits": 2, "leak_multiplier": 0},
    {"frac_bits": 0, "leak_shift": 1, "potential_bits": 16},
]
T = 3


def activations(rng, *shape, channels, rate=0.25):
    bits = (rng.random((*shape, channels)) < rate).astype(np.uint8)
    padded = np.pad(bits, [(0, 0)] * len(shape) + [(0, -channels % 32)])
    return np.ascontiguousarray(np.packbits(padded, axis=-1, bitorder="little")).view("<u4")


def codes(rng, shape, bits, scheme):
    if scheme == "pow2":
        k = 2 ** (bits - 1) - 1
        levels = np.concatenate([[0], 2 ** np.arange(k)])
        return (rng.choice(levels, shape) * rng.choice([-1, 1], shape)).astype(np.int8)
    high = 2 ** (min(bits, 20) - 1) - 1
    made = rng.integers(-high - (bits < 8), high + 1, shape)
    made[::2] = -made[::2]  # a channel of negative scale is stored negated
    return made.astype("int8" if bits <= 8 else "int16" if bits <= 16 else "int32")


def levels(rng, channels, neurons, reach):
    unit = 2 ** neurons["frac_bits"]
    spread = max(reach // 8, 1) * unit
    return [
        rng.integers(-spread // 4 - 1, spread // 4 + 1, channels, dtype=np.int32),
        rng.integers(1, spread + 1, channels, dtype=np.int32),
        rng.integers(-unit, unit + 1, channels, dtype=np.int32),
    ]


def conv_cases(rng):
    shapes = [
        # channels in, out, kernel, strides, pads, planes, bits, scheme
        (1, 7, 1, [1, 1], [0, 0, 0, 0], 1, 2, "uniform"),
        (31, 5, 3, [1, 1], [1, 1, 1, 1], 1, 4, "uniform"),
        (33, 12, 3, [2, 2], [1, 1, 1, 1], 1, 4, "pow2"),
        (40, 32, 1, [1, 1], [0, 0, 0, 0], 2, 2, "pow2"),
        (64, 33, 3, [2, 1], [0, 1, 1, 0], 1, 8, "uniform"),
        (96, 96, 1, [1, 1], [0, 0, 0, 0], 3, 3, "uniform"),
        (32, 160, 3, [1, 1], [1, 1, 1, 1], 2, 4, "pow2"),
        (128, 256, 1, [1, 1], [0, 0, 0, 0], 1, 2, "uniform"),
        (17, 384, 2, [1, 1], [0, 0, 0, 0], 1, 3, "pow2"),
    ]
    for shape, neurons in zip(shapes, itertools.cycle(NEURONS), strict=False):
        n_in, n_out, kernel, strides, pads, planes, bits, scheme = shape
        x = activations(rng, T, 5, 4, planes, channels=n_in)
        weights = codes(rng, (n_out, n_in, kernel, kernel), bits, scheme)
        reach = int(np.abs(weights.astype(int)).sum((1, 2, 3)).max())
        attributes = {
            "channels": n_in, "strides": strides, "pads": pads,
            "weight_bits": bits, "weight_scheme": scheme, **neurons,
        }  # fmt: skip
        yield "SpikeConv", [x, weights, *levels(rng, n_out, neurons, reach)], attributes, 1
    for bits, neurons in zip((2, 4, 3), NEURONS, strict=False):
        weights = codes(rng, (96, 64, 3, 3), bits, "uniform")
        x = activations(rng, T, 4, 5, 2, channels=64)
        attributes = {
            "channels": 64, "strides": [1, 2], "pads": [1, 1, 1, 1], "kernel": "planes",
            "weight_bits": bits, "weight_scheme": "uniform", **neurons,
        }  # fmt: skip
        yield "SpikeConv", [x, weights, *levels(rng, 96, neurons, 900)], attributes, 1
    windows = [
        # channels out, kernel, strides, pads
        (3, (3, 3), [1, 1], [1, 1, 1, 1]),
        (12, (3, 3), [1, 1], [1, 1, 1, 1]),
        (70, (2, 3), [2, 1], [0, 2, 1, 0]),
        (33, (1, 4), [1, 3], [2, 1, 0, 2]),
    ]
    for (n_out, kernel, strides, pads), neurons, image in zip(
        windows, NEURONS, frames(rng), strict=False
    ):
        weights = codes(rng, (n_out, 2, *kernel), 8, "uniform")
        attributes = {
            "strides": strides, "pads": pads,
            "weight_bits": 8, "weight_scheme": "uniform", **neurons,
        }  # fmt: skip
        inputs = [image, weights, *levels(rng, n_out, neurons, 1500)]
        for kernel in ("sparse", "dense"):
            yield "DenseConv", inputs, {**attributes, "kernel": kernel}, 1
    image = rng.integers(-2, 3, (T, 300, 2, 3)).astype(np.int8)  # more than are listed at once
    inputs = [image, codes(rng, (5, 300, 1, 3), 4, "uniform"), *levels(rng, 5, NEURONS[0], 900)]
    attributes = {
        "strides": [1, 1], "pads": [0, 1, 0, 1],
        "weight_bits": 4, "weight_scheme": "uniform", **NEURONS[0],
    }  # fmt: skip
    yield "DenseConv", inputs, attributes, 1


def field_cases(rng):
    """Rows that are added as they are stored: codes of 2 to 8 bits, few and many of them."""
    for (n_in, n_out, kernel, planes, bits, scheme, rate), neurons in zip(
        (
            (40, 128, 3, 1, 2, "uniform", 0.25),
            (300, 64, 1, 2, 2, "pow2", 0.9),
            (33, 192, 3, 1, 4, "uniform", 0.5),
            (64, 256, 1, 3, 3, "uniform", 0.05),
            (48, 384, 1, 2, 2, "uniform", 0.6),
            (24, 96, 3, 1, 4, "pow2", 0.9),
            (700, 32, 1, 2, 8, "uniform", 0.95),
            (40, 320, 1, 1, 5, "uniform", 0.02),
        ),
        NEURONS,
        strict=True,
    ):
        x = activations(rng, T, 4, 5, planes, channels=n_in, rate=rate)
        weights = codes(rng, (n_out, n_in, kernel, kernel), bits, scheme)
        reach = int(np.abs(weights.astype(int)).sum((1, 2, 3)).max())
        attributes = {
            "channels": n_in, "strides": [1, 1], "pads": [kernel // 2] * 4, "kernel": "fields",
            "weight_bits": bits, "weight_scheme": scheme, **neurons,
        }  # fmt: skip
        yield "SpikeConv", [x, weights, *levels(rng, n_out, neurons, reach)], attributes, 1


def frames(rng):
    """Frames of events and of signed numbers, by turns, with the ends of their types.

    Rows are empty, at every step or at the first; one pixel alone changes at one step.
    """
    for low, high, dtype in itertools.cycle(((0, 255, np.uint8), (-128, 127, np.int8))):
        image = rng.poisson(0.8, (T, 2, 6, 5)) if low == 0 else rng.normal(0, 40, (T, 2, 6, 5))
        image[:, :, 3:] = 0
        image[0, 0, 0, :2] = low, high
        image[1] = image[0]
        image[1, 1, 1, 2] = 3 - image[0, 1, 1, 2]
        image[2, 0, 4, 3] = high
        yield np.clip(image, low, high).astype(dtype)


def rescaling(rng, channels, reach):
    """Multipliers, biases and a shift that bring sums of up to `reach` to some thousands."""
    shift = 24
    high = max(2**12 * 2**shift // reach, 2)
    multiplier = rng.integers(-min(high, 2**30), min(high, 2**30), channels, dtype=np.int32)
    bias = rng.integers(-(2**10) << shift, 2**10 << shift, channels)
    return [multiplier, bias], {"shift": shift}


def potential_cases(rng):
    coded = {"weight_scheme": "uniform", "strides": [1, 1], "pads": [1, 1, 1, 1]}
    for n_in, n_out, kernel, bits in (
        (33, 12, 3, 4), (64, 160, 1, 8), (20, 33, 3, 12), (40, 64, 1, 16), (12, 40, 3, 32)
    ):  # fmt: skip
        weights = codes(rng, (n_out, n_in, kernel, kernel), bits, "uniform")
        values, attributes = rescaling(rng, n_out, 2**bits * 60)
        attributes |= coded | {"weight_bits": bits}
        x = activations(rng, T, 5, 4, 2, channels=n_in)
        yield "SpikeConvPotentials", [x, weights, *values], {**attributes, "channels": n_in}, 1
        if bits == 4:
            planes = {"channels": 64, "kernel": "planes"}
            x = activations(rng, T, 5, 4, 2, channels=64)
            weights = codes(rng, (64, 64, kernel, kernel), bits, "uniform")
            values, shift = rescaling(rng, 64, 2**bits * 60)
            inputs = [x, weights, *values]
            yield "SpikeConvPotentials", inputs, {**attributes, **planes, **shift}, 1
    for (n_out, bits), image in zip(
        ((7, 8), (9, 8), (70, 16), (20, 12)), frames(rng), strict=False
    ):
        weights = codes(rng, (n_out, 2, 3, 3), bits, "uniform")
        values, attributes = rescaling(rng, n_out, 2**bits * 10)
        attributes |= coded | {"weight_bits": bits}
        yield "FrameConvPotentials", [image, weights, *values], attributes, 1
    for (channels, n_out, kernel, bits), wide in itertools.product(
        ((3, 40, 3, 8), (64, 33, 1, 4), (96, 96, 1, 16)), (0, 1)
    ):
        padded = -(-channels // 32) * 32
        reach = 2**30 if wide else 2**10
        x = rng.integers(-reach, reach, (T, 4, 5, padded), dtype=np.int32)
        x[..., channels:] = 0
        values, attributes = rescaling(rng, n_out, reach * 2**bits)
        attributes |= coded | {"weight_bits": bits, "channels": channels, "wide": wide}
        weights = codes(rng, (n_out, channels, kernel, kernel), bits, "uniform")
        yield "PotentialConv", [x, weights, *values], attributes, 1
        own = codes(rng, (channels, 1, kernel, kernel), bits, "uniform")
        values, shift = rescaling(rng, channels, reach * 2**bits)
        yield "DepthwiseConv", [x, own, *values], {**attributes, **shift}, 1
        values, attributes = rescaling(rng, channels, reach)
        yield "RescalePotentials", [x, *values], {**attributes, "channels": channels}, 1
        yield "AddPotentials", [x, x[:, ::-1].copy()], {}, None
        yield "SumPotentials", [x // 32], {}, None
        window = {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}
        yield "PoolPotentials", [x], window, None
    for channels, neurons in zip((5, 33, 64, 96, 7, 40, 32, 31), NEURONS, strict=True):
        padded = -(-channels // 32) * 32
        x = rng.integers(-60, 120, (T, 4, 3, padded), dtype=np.int32)
        parameters = levels(rng, channels, neurons, 400)
        yield "PotentialNeurons", [x, *parameters], {"channels": channels, **neurons}, 1
    for channels, planes in ((10, 1), (96, 3)):
        x = activations(rng, T, 4, 3, planes, channels=channels)
        yield "SpikesAsPotentials", [x], {"channels": channels}, None
        yield "CountSpikes", [x], {"channels": channels}, None
        a, b = (activations(rng, T, 4, 3, 1, channels=channels, rate=0.6) for _ in range(2))
        yield "AndSpikes", [a, b], {}, None
        yield "AndSpikes", [a, b[:, :1, :1].copy()], {}, None
        yield "XorSpikes", [a, b], {}, None


def other_cases(rng):
    for channels in (12, 33, 96):
        x = activations(rng, T, 7, 6, 1, channels=channels)
        window = {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]}
        yield "PackedPool", [x], {"channels": channels, **window}, None
    for a, b, y in ((1, 1, 2), (2, 1, 2), (3, 2, 4)):
        rows = [activations(rng, T, 3, 3, p, channels=40) for p in (a, b)]
        yield "AddPlanes", rows, {"channels": 40, "planes": y}, None
    for (channels, heads, planes), neurons in zip(
        (
            (96, 3, (1, 1, 1)), (40, 5, (1, 1, 1)), (64, 1, (1, 1, 1)), (36, 3, (1, 1, 1)),
            (35, 5, (2, 1, 1)), (33, 1, (1, 3, 1)), (31, 31, (1, 1, 2)), (70, 2, (2, 3, 4)),
        ),
        itertools.cycle(NEURONS),
        strict=False,
    ):  # fmt: skip
        q, k, v = (activations(rng, T, 3, 4, p, channels=channels, rate=0.4) for p in planes)
        reach = channels // heads * math.prod(2**p - 1 for p in planes)
        parameters = levels(rng, channels, neurons, 8 * reach)
        attributes = {"channels": channels, "heads": heads, **neurons}
        yield "PackedAttention", [q, k, v, *parameters], attributes, 3
    for channels, planes in ((10, 1), (96, 3)):
        x = activations(rng, T, 4, 3, planes, channels=channels)
        yield "SumSpikes", [x], {"channels": channels}, None
    for classes, bits, scheme in (
        (10, 8, "uniform"), (11, 4, "pow2"), (3, 2, "uniform"), (10, 16, "uniform")
    ):  # fmt: skip
        counts = rng.integers(0, 2000, (1, 37), dtype=np.int32)
        scale = rng.uniform(1e-4, 1e-2, classes).astype(np.float32)
        bias = rng.integers(-5000, 5000, classes)
        weights = np.ascontiguousarray(codes(rng, (classes, 37), bits, scheme).T)
        inputs = [counts, weights, bias.astype(np.int32), scale]
        stored = {"weight_bits": bits, "weight_scheme": scheme}
        yield "IntegerLinear", inputs, stored, 1
        if bits <= 8:
            yield "IntegerLinear", inputs, {**stored, "shift": 7}, 1
        wide = [counts * 10**5, weights, bias * 10**8 + 1, scale]
        yield "IntegerLinear", wide, {**stored, "wide": 1, "shift": 13}, 1
    ties = around_ties()
    zeros = np.zeros((1, ties.size), np.int8)
    stored = {"weight_bits": 2, "weight_scheme": "uniform", "wide": 1}
    exact = [np.int32([[3]]), zeros, ties, np.ones(ties.size, np.float32)]
    yield "IntegerLinear", exact, stored, 1
    halves = np.arange(-4, 56, dtype=np.float32).reshape(T, 20) / 2
    noise = rng.normal(3, 4, (T, 20)).astype(np.float32)
    signed = {"to": ir.DataType.INT8.value}
    for values, scale, attributes in (
        (halves, 1.0, {"qmax": 255}),
        (noise, 0.37, {"qmax": 15}),
        (halves - 15, 0.125, {"qmax": 127, "qmin": -128} | signed),
        (noise, 0.37, {"qmax": 7, "qmin": -7} | signed),
    ):
        shaped = values.reshape(T, 1, 1, 4, 5)
        yield "QuantizeFrames", [shaped, np.float32([scale])], attributes, 1


def ends(rng, shape, low, high, dtype):
    """Codes: the first output's all the largest, the second's all the least, others anything."""
    made = rng.integers(low, high + 1, shape)
    made[0], made[1] = high, low
    return made.astype(dtype)


ENDS = [
    # weight bits, least code, largest code, type of the array
    (2, -2, 1, "int8"),
    (3, -3, 4, "int8"),
    (4, -8, 7, "int8"),
    (5, -16, 15, "int8"),
    (6, -31, 31, "int8"),
    (6, -32, 31, "int8"),
    (8, -128, 127, "int8"),
    (8, -127, 128, "int16"),
    (8, 0, 255, "int16"),
    (8, -255, 0, "int16"),
    (8, 0, 200, "int32"),
    (14, -8191, 8191, "int16"),
    (14, -8192, 8191, "int16"),
    (16, -32768, 32767, "int16"),
    (16, -32767, 32768, "int32"),
    (16, 0, 65535, "int32"),
    (32, -(2**31), 2**31 - 1, "int32"),
]


def end_cases(rng):
    """Everything at the ends of its range at once: codes, spikes that all fire, frames, counts."""
    places = {"strides": [1, 1], "pads": [0, 0, 1, 0]}
    for (bits, low, high, dtype), planes in zip(ENDS, itertools.cycle((1, 3, 8)), strict=False):
        stored = {"weight_bits": bits, "weight_scheme": "uniform"}
        attributes = {**places, **stored}
        weights = ends(rng, (33, 40, 2, 1), low, high, dtype)
        spikes = activations(rng, T, 2, 3, planes, channels=40, rate=2)
        values, shift = rescaling(rng, 33, int(np.abs(weights.astype(int)).max()) * 80 * 2**planes)
        inputs = [spikes, weights, *values]
        yield "SpikeConvPotentials", inputs, {**attributes, **shift, "channels": 40}, 1
        weights = ends(rng, (5, 3, 2, 3), low, high, dtype)
        values, shift = rescaling(rng, 5, int(np.abs(weights.astype(int)).max()) * 18 * 255)
        for image in (np.full((T, 3, 4, 4), 255, np.uint8), np.full((T, 3, 4, 4), -128, np.int8)):
            yield "FrameConvPotentials", [image, weights, *values], {**attributes, **shift}, 1
        counts = np.full((1, 7), 100, np.int32)
        classes = [np.arange(11, dtype=np.int64) - 5, np.full(11, 0.37, np.float32)]
        weights = np.ascontiguousarray(ends(rng, (11, 7), low, high, dtype).T)
        yield "IntegerLinear", [counts, weights, *classes], {**stored, "wide": 1, "shift": 9}, 1
        potentials = np.full((T, 2, 3, 32), 2**20, np.int32)
        potentials[..., 9:] = 0
        attributes |= {"channels": 9, "wide": 1}
        values, shift = rescaling(rng, 5, 2**30 * max(high, -low))
        weights = ends(rng, (5, 9, 2, 1), low, high, dtype)
        yield "PotentialConv", [potentials, weights, *values], {**attributes, **shift}, 1
        values, shift = rescaling(rng, 9, 2**30 * max(high, -low))
        weights = ends(rng, (9, 1, 2, 1), low, high, dtype)
        yield "DepthwiseConv", [potentials, weights, *values], {**attributes, **shift}, 1
    yield from sums_at_their_ends(rng)


def sums_at_their_ends(rng):
    """Sums that just fit their type, and sums that do not."""
    places = {"strides": [1, 1], "pads": [0, 0, 0, 0]}
    for last in (1, 2):  # 32767 fits 16 bits with all its partial sums, 32768 is left to 32
        weights = np.full((2, 259, 1, 1), 127, np.int8)
        weights[:, -1] = last
        weights[1] *= -1
        x = activations(rng, T, 2, 2, 1, channels=259, rate=2)
        x[:, 0, 0] = activations(rng, T, 1, channels=259, rate=0.1)
        bias, threshold, reset = (np.full(2, n << 4, np.int32) for n in (0, 32766 + last, 0))
        inputs = [x, weights, bias, threshold, reset]
        stored = {"weight_bits": 8, "weight_scheme": "uniform"}
        yield "SpikeConv", inputs, {"channels": 259, **places, **stored, **NEURONS[0]}, 1
    weights = ends(rng, (4, 40, 3, 3), -32768, 32767, np.int16)
    values, shift = rescaling(rng, 4, 2**32)
    stored = {"weight_bits": 16, "weight_scheme": "uniform"}
    for wide in ({}, {"wide": 1}):  # the codes prove that 64 bits are needed, or the node asks
        x = activations(rng, T, 4, 3, 8, channels=40, rate=2)
        attributes = {"channels": 40, **places, **stored, **shift, **wide}
        yield "SpikeConvPotentials", [x, weights, *values], attributes, 1
        image = np.full((T, 40, 3, 4), 255, np.uint8)
        attributes = {**places, **stored, **shift, **wide}
        yield "FrameConvPotentials", [image, weights, *values], attributes, 1
    weights = ends(rng, (32, 64, 33, 33), 0, 127, np.int8)
    x = activations(rng, T, 33, 33, 8, channels=64, rate=2)
    values, shift = rescaling(rng, 32, 2**32)
    stored = {"weight_bits": 7, "weight_scheme": "uniform", "kernel": "planes"}
    attributes = {"channels": 64, **places, **stored, **shift}
    yield "SpikeConvPotentials", [x, weights, *values], attributes, 1
    for planes, (channels, heads), neurons in (
        ((8, 1, 1), (33, 1), NEURONS[2]), ((1, 8, 2), (36, 4), NEURONS[5]),
        ((4, 4, 8), (35, 7), NEURONS[2]),
    ):  # fmt: skip
        q, k, v = (activations(rng, T, 3, 2, p, channels=channels, rate=2) for p in planes)
        reach = 6 * channels // heads * math.prod(2**p - 1 for p in planes)
        parameters = levels(rng, channels, neurons, 2 * reach)
        yield "PackedAttention", [q, k, v, *parameters], {
            "channels": channels, "heads": heads, **neurons,
        }, 3  # fmt: skip


def channel_and_readout_cases(rng):
    def packed(planes, channels):
        return activations(rng, T, 3, 2, planes, channels=channels, rate=0.5)

    yield from channel_cases(rng, packed, T)


def cases_in_lanes(rng):
    yield from lane_cases(rng, activations, codes, T)


def cases_listed_by_masks(rng):
    yield from listing_cases(rng, activations, codes, T)


def cases_by_complements(rng):
    yield from complement_cases(rng, activations, codes, T)


def around_ties():
    """int64: at every magnitude numbers next to and on ties of float32, even and odd; the ends."""
    ties = [
        (significand << (size - 24)) + (1 << (size - 25)) + beside
        for size in range(26, 64)
        for significand in (2**23, 2**23 + 1, 2**24 - 1)
        for beside in (-1, 0, 1)
    ]
    ends = [-(2**63), 2**63 - 1, 0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**24 + 1, 2**25 + 3]
    return np.array([*ties, *(-t for t in ties), *ends], np.int64)


def cases_by_tiles(rng):
    return pointwise_cases(rng, T, codes, rescaling)


def cases_by_dots(rng):
    return dense_cases(rng, T, activations, codes)


def frames_by_dots(rng):
    return dotted_frame_cases(rng, T, codes, levels, rescaling)


def multiplies_bytes(target, bits):
    """Whether an instruction adds products of bytes in vectors of so many bits, or wider ones."""
    widest = dot_bits(target.dots)
    return bits == 128 if widest == 128 else 128 < bits <= widest


CASES = [
    case
    for make in (
        cases_by_dots,
        frames_by_dots,
        conv_cases,
        field_cases,
        cases_by_tiles,
        potential_cases,
        other_cases,
        end_cases,
        channel_and_readout_cases,
        cases_in_lanes,
        cases_listed_by_masks,
        cases_by_complements,
    )
    for case in make(np.random.default_rng(3))
]


OPS = {op.name: op for op in ops()}

ISAS = [
    "host", "arm-a72", "armv7-a7", "cortex-m0plus", "cortex-m4", "cortex-m55", "rv32imc", "rv64gc",
    "rv64gcv", "wasm32", "wasm32-plain", "arm-a76",
]  # fmt: skip


FEW = {"cortex-m0plus", "wasm32-plain", "arm-a76"}
"""Those that are like another but for some arithmetic: three cases of each kernel."""

IMPORTED_FUNCTIONS = """
import { readFileSync } from 'node:fs'
for (const { name, kind } of WebAssembly.Module.imports(
    new WebAssembly.Module(readFileSync(process.argv[1]))
)) if (kind === 'function') console.log(name)
"""


@cache
def made(number, vector):
    """A case, for all targets that have vectors or for all that have none."""
    op_type, inputs, attributes, constant_from = CASES[number]
    op = OPS[op_type]
    expected = op.reference(*inputs, **attributes)
    node = model_of(op, inputs, attributes, expected, constant_from).graph[0]
    call = find_kernel(node)(node, vector)
    steps = 1 if op_type in ("IntegerLinear", "ReadLogits") else T
    return Case(f"{number}-{op_type}", call, inputs, expected, steps, op.lasts)


@pytest.mark.parametrize("name", ISAS)
def test_kernels_equal_references(name, tmp_path):
    target = load_target(name)
    cases, seen = [], Counter()
    for number, (op_type, _, attributes, _) in enumerate(CASES):
        if op_type == "QuantizeFrames" and not target.has_floats:
            continue  # by integers: tests/codegen/test_quantize_by_integers.py
        if attributes.get("listing", "table") not in ("table", listing_on(target.listing)):
            continue  # refused there
        if (bits := attributes.get("dot_bits", 0)) and not multiplies_bytes(target, bits):
            continue
        seen[op_type] += 1
        if name in FEW and seen[op_type] > 3:
            continue
        cases.append(made(number, target.vector_bits > 0))
    for case, (whole, steps, parts) in zip(cases, outputs(cases, target, tmp_path), strict=True):
        assert len(np.unique(case.expected)) > 1, f"{case.name} tests nothing"
        np.testing.assert_array_equal(whole, case.expected, err_msg=f"{case.name}, whole")
        np.testing.assert_array_equal(steps, case.expected, err_msg=f"{case.name}, steps")
        np.testing.assert_array_equal(parts, case.expected, err_msg=f"{case.name}, parts")
    asked = {s for s in undefined(tmp_path / "kernels.o") if not s.startswith("case_")}
    assert asked <= {"memset", "memcpy"}


def undefined(file):
    """The functions that an object leaves to others."""
    command = ["nm", "-u", file]
    if file.read_bytes()[:4] == b"\0asm":
        command = ["node", "--input-type=module", "-e", IMPORTED_FUNCTIONS, file]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.split()) - {"U"}


def test_every_kernel_is_covered():
    assert {op_type for op_type, *_ in CASES} == set(KERNELS)


def kernel_of(op_type, inputs, attributes, constant_from):
    """The kernel call of one node, for a target with vectors."""
    op = OPS[op_type]
    expected = op.reference(*inputs, **attributes)
    node = model_of(op, inputs, attributes, expected, constant_from).graph[0]
    return find_kernel(node)(node, True)


def test_layers_share_a_function_only_where_their_offsets_are_of_one_type():
    calls = []
    for low, high, dtype in ((-128, 127, np.int8), (-255, 0, np.int16)):
        rng = np.random.default_rng(0)
        x = activations(rng, T, 2, 2, 1, channels=8)
        weights = ends(rng, (32, 8, 1, 1), low, high, dtype)
        values, shift = rescaling(rng, 32, 255 * 8)
        attributes = {
            "channels": 8, "strides": [1, 1], "pads": [0, 0, 0, 0], "kernel": "fields",
            "weight_bits": 8, "weight_scheme": "uniform", **shift,
        }  # fmt: skip
        calls.append(kernel_of("SpikeConvPotentials", [x, weights, *values], attributes, 1))
    assert [call.operands[3].array.dtype for call in calls] == [np.int8, np.int16]
    assert calls[0].key != calls[1].key


def test_attention_that_32_bits_may_not_hold_is_refused():
    rng = np.random.default_rng(0)
    for planes, refused in (((8, 8, 8), True), ((8, 8, 5), False)):
        q, k, v = (activations(rng, 1, 5, 4, p, channels=36) for p in planes)
        inputs = [q, k, v, *levels(rng, 36, NEURONS[2], 100)]
        attributes = {"channels": 36, "heads": 2, **NEURONS[2]}
        with pytest.raises(UnsupportedModelError, match="'layer'") if refused else nullcontext():
            kernel_of("PackedAttention", inputs, attributes, 3)


def test_planes_are_refused_where_they_would_waste_storage():
    op = OPS["SpikeConv"]
    rng = np.random.default_rng(0)
    for channels, bits, scheme, suits in (
        (64, 4, "uniform", True), (64, 2, "pow2", True), (64, 4, "pow2", False),
        (64, 7, "uniform", True), (64, 8, "uniform", False),
        (40, 4, "uniform", False),
    ):  # fmt: skip
        weights = codes(rng, (32, channels, 1, 1), bits, scheme)
        inputs = [activations(rng, T, 2, 2, 1, channels=channels), weights]
        inputs += levels(rng, 32, NEURONS[0], 100)
        attributes = {
            "channels": channels, "strides": [1, 1], "pads": [0, 0, 0, 0],
            "weight_bits": bits, "weight_scheme": scheme, **NEURONS[0],
        }  # fmt: skip
        expected = op.reference(*inputs, **attributes)
        node: ir.Node = model_of(op, inputs, attributes, expected, 1).graph[0]
        assert suits_planes(node) is suits
