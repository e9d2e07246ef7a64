"""Cases of ops that take, join and spread channels, and of those that leave the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

Case = tuple[str, list[np.ndarray], dict, int | None]
"""An op, its inputs, its attributes, and from which input on they are constant."""


def channel_cases(
    rng: np.random.Generator, packed: Callable[[int, int], np.ndarray], time_steps: int
) -> Iterator[Case]:
    """`packed(planes, channels)` are spikes uint32 [time_steps, H, W, planes, words]."""
    for channels, first, count in (
        (40, 0, 40),
        (96, 32, 33),
        (70, 5, 31),
        (70, 37, 33),
        (65, 64, 1),
    ):
        part = {"channels": channels, "first": first, "count": count}
        planes = 1 + first % 2
        yield "SliceChannels", [packed(planes, channels)], {**part, "planes": planes}, None
        yield "SlicePotentials", [_potentials(rng, time_steps, channels)], part, None
    for channels, others, planes in (
        (32, 7, (1, 1)),
        (33, 64, (1, 2)),
        (5, 27, (3, 1)),
        (1, 95, (1, 1)),
    ):
        joined = {"channels": channels, "others": others}
        pair = [packed(p, n) for p, n in zip(planes, (channels, others), strict=True)]
        yield "ConcatChannels", pair, {**joined, "planes": max(planes)}, None
        pair = [_potentials(rng, time_steps, n) for n in (channels, others)]
        yield "ConcatPotentials", pair, joined, None
    for channels, repeats, planes in ((1, 40, 1), (6, 11, 2), (33, 2, 1)):
        many = {"channels": channels, "repeats": repeats, "planes": planes}
        yield "SpreadChannels", [packed(planes, channels)], many, None
    for channels in (3, 40):
        x = _potentials(rng, time_steps, channels)
        yield "SumSteps", [x // 16], {}, None
        yield "KeepSteps", [x], {}, None
        yield "TakeStep", [x], {"step": time_steps - 2}, None
        yield "ReluPotentials", [x], {}, None
        yield "PadPotentials", [x], {"pads": [1, 0, 2, 1]}, None
        yield "AddPositions", [x // 2, x[0] // 2], {}, 1
        logits = x[:, :1, :1]
        read = {"channels": channels, "sizes": [time_steps, 1, channels]}
        scale = np.float32([0.37])
        yield "ReadLogits", [logits.copy(), scale], read, 1


def _potentials(rng: np.random.Generator, time_steps: int, channels: int) -> np.ndarray:
    x = rng.integers(-(2**30), 2**30, (time_steps, 3, 2, -(-channels // 32) * 32), dtype=np.int32)
    x[..., channels:] = 0
    return x
