"""Cases of ops that take, join and move numbers, and of those that leave the network."""

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
    yield from _moved(rng, packed, time_steps)
    for channels, (own, others), rows in ((5, (1, 1), 2), (40, (2, 1), 1), (96, (1, 3), 2)):
        a, b = (packed(planes, channels) for planes in (own, others))
        b = np.ascontiguousarray(b[:, :, :rows])
        given = {"channels": channels, "columns": rows}
        yield "MultiplySpikes", [a, b], given, None
        potentials = _potentials(rng, time_steps, channels) // (channels * 2**others)
        yield "MultiplyPotentials", [potentials, b], given, None
        yield "GatePotentials", [potentials, a], {"channels": channels}, None
    for channels in (3, 40):
        x = _potentials(rng, time_steps, channels)
        rising = np.sort(rng.choice(2**28, 5, replace=False)).astype(np.int32)
        of_levels = {"channels": channels, "planes": 3, "leak_multiplier": 1}
        for leak in ({"leak_multiplier": 0}, {}, {"leak_shift": 2}):
            given = [x // 4, rising, np.int32([2**26])]
            yield "PotentialLevels", given, {**of_levels, **leak}, 1
        yield "SumSteps", [x // 16], {}, None
        yield "KeepSteps", [x], {}, None
        yield "KeepSteps", [packed(2, channels)], {}, None
        yield "TakeStep", [x], {"step": time_steps - 2}, None
        yield "ReluPotentials", [x], {}, None
        yield "PadPotentials", [x], {"pads": [1, 0, 2, 1]}, None
        yield "AddPositions", [x // 2, x[0] // 2], {}, 1
        logits = x[:, :1, :1]
        read = {"channels": channels, "sizes": [time_steps, 1, channels]}
        scale = np.float32([0.37])
        yield "ReadLogits", [logits.copy(), scale], read, 1


def _moved(
    rng: np.random.Generator, packed: Callable[[int, int], np.ndarray], time_steps: int
) -> Iterator[Case]:
    """Positions in another order, channels reversed, channels and positions exchanged, repeated."""
    for channels, planes in ((3, 1), (40, 1), (64, 2), (33, 3)):
        spikes, potentials = packed(planes, channels), _potentials(rng, time_steps, channels)
        columns = potentials.shape[3]
        positions = int(np.prod(spikes.shape[1:3]))
        places, own = np.arange(positions), np.arange(channels)
        for rows, taken in (
            (columns * places[::-1], own),
            (columns * places[::2], own[::-1]),
            (own, columns * places),
            (0 * own, own[: channels // 2 + 1]),
        ):
            tables = [np.ascontiguousarray(t, np.int32) for t in (rows[:, None], taken)]
            given = {"positions": [1, rows.size], "channels": channels}
            yield "RearrangeSpikes", [spikes, *tables], {**given, "planes": planes}, 1
            yield "RearrangePotentials", [potentials, *tables], given, 1
        for x in (spikes, potentials):
            yield "JoinPositions", [x, np.ascontiguousarray(x[:, :1])], {}, None


def _potentials(rng: np.random.Generator, time_steps: int, channels: int) -> np.ndarray:
    x = rng.integers(-(2**30), 2**30, (time_steps, 3, 2, -(-channels // 32) * 32), dtype=np.int32)
    x[..., channels:] = 0
    return x
