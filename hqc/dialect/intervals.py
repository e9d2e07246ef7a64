"""What integers can reach: the one proof of every range, in integers.

`make-integer` chooses formats by these functions, and every op checks its node by them after every
pass. Bounds are int64, one number or one a channel.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

INT32 = 2**31 - 1
INT64 = 2**62
"""What 64-bit sums may reach: one bit is left for what is added to them."""


class RangeError(Exception):
    """A number may leave the bits that hold it; `by` is how many times too large it may get."""

    def __init__(self, what: str, by: float) -> None:
        super().__init__(what)
        self.what, self.by = what, by


def sum_interval(
    rows: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What sums of codes times inputs can reach, by output.

    rows: integer codes [outputs, inputs, ...]. low, high: bounds of all inputs, or by input. An
    input may also be padding, which is 0. Raises `RangeError` where 64 bits may not hold a sum.
    """
    low, high = np.minimum(low, 0), np.maximum(high, 0)
    positive, negative = _added_up(rows, 1 if low.size == high.size == 1 else rows.shape[1])
    reach = max(-int(low.min()), int(high.max()))
    _expect_sums((positive - negative).sum(1, dtype=np.float64), reach)
    low, high = (np.broadcast_to(b.astype(np.int64), positive.shape[1]) for b in (low, high))
    return negative @ high + positive @ low, positive @ high + negative @ low


def depthwise_interval(
    rows: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What sums of codes [C, 1, ...] times inputs of the same channel can reach, or padding.

    low, high: bounds of all inputs, or by channel. Raises `RangeError` as `sum_interval` does.
    """
    low, high = np.minimum(low, 0).astype(np.int64), np.maximum(high, 0).astype(np.int64)
    positive, negative = (a[:, 0] for a in _added_up(rows, 1))
    _expect_sums((positive - negative).astype(np.float64), np.maximum(-low, high))
    return negative * high + positive * low, positive * high + negative * low


def _added_up(rows: np.ndarray, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """The sums of the codes above 0, and of those below, of every output and input, in int64."""
    rows = rows.reshape(len(rows), inputs, -1)
    positive = np.maximum(rows, 0).sum(2, dtype=np.int64)
    return positive, rows.sum(2, dtype=np.int64) - positive


def _expect_sums(largest: np.ndarray, reach: int | np.ndarray) -> None:
    """Sums of codes, whose magnitudes add up to so much, times inputs that reach so far."""
    wide = (largest * (1 + 2**-20) * reach).max(initial=0)
    if wide >= INT64:
        raise RangeError("its sums do not fit 64 bits", float(wide / INT64))


def rescale_interval(
    low: np.ndarray, high: np.ndarray, multiplier: np.ndarray, bias: np.ndarray, shift: int
) -> tuple[np.ndarray, np.ndarray]:
    """What `Rescale` makes of numbers between low and high. Raises `RangeError`."""
    ends = []
    for end in (low, high):
        wide = np.abs(np.multiply(end, multiplier, dtype=np.float64)) + np.abs(bias, dtype=float)
        if wide.max(initial=0) >= 2.0**63 * (1 - 2**-20):
            raise RangeError("its products do not fit 64 bits", float(wide.max() / 2.0**63))
        ends.append((np.asarray(end, np.int64) * multiplier.astype(np.int64) + bias) >> shift)
    least, most = np.minimum(*ends), np.maximum(*ends)
    reach = max(-int(least.min()), int(most.max()))
    if reach > INT32:
        raise RangeError("its potentials do not fit 32 bits", reach / INT32)
    return least, most


def neuron_interval(
    low: np.ndarray,
    high: np.ndarray,
    bias: np.ndarray,
    threshold: np.ndarray,
    reset: np.ndarray,
    time_steps: int,
    neurons: Mapping[str, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the membrane potentials of `FixedPointLIF` can reach, and whether they can fire.

    low, high: bounds of its accumulators; `neurons` holds the op's attributes. Returns the least
    and the greatest potential of all time steps, and where one can reach its threshold. The
    recurrence is followed at both ends of the interval, as every step grows with the potential.
    Raises `RangeError` where anything that a kernel handles may not fit 32 bits, or what it keeps
    until the next step may not fit `potential_bits`.
    """
    exact, multiplier, shift = (neurons[n] for n in ("exact", "leak_multiplier", "leak_shift"))
    stored = 2 ** (neurons["potential_bits"] - 1) - 1
    half = (1 << shift) >> 1
    low, high, bias, threshold, reset = (
        np.asarray(a, np.int64).reshape(-1) for a in (low, high, bias, threshold, reset)
    )
    low, high = np.broadcast_arrays(low, high)

    def held(what: str, *numbers: np.ndarray, most: int = INT32) -> None:
        reach = max(max(-int(n.min()), int(n.max())) for n in numbers)
        if reach > most:
            raise RangeError(what, reach / most)

    if exact and time_steps > 31:
        raise RangeError("its membrane potentials double too often for 32 bits", 2.0**time_steps)
    held("its sums do not fit 32 bits", low, high)
    scaled = [end << neurons["frac_bits"] for end in (low, high)]
    held("its sums in fixed point do not fit 32 bits", *scaled)
    currents = [s + bias for s in scaled]
    held("its inputs in fixed point do not fit 32 bits", *currents)
    u = [np.zeros_like(c) for c in np.broadcast_arrays(currents[0], threshold)]
    least, most = u
    ever_fires = np.zeros(u[0].shape, bool)
    for t in range(time_steps):
        growth = t if exact else 0
        if not exact and multiplier == 1:
            held("its leak does not fit 32 bits", *(end + half for end in u))
        kept = u if exact else [(end * multiplier + half) >> shift for end in u]
        current = [c << growth for c in currents]
        bottom, top = (k + c for k, c in zip(kept, current, strict=True))
        level, cleared = threshold << growth, reset << growth
        held("its membrane potentials do not fit 32 bits", *current, bottom, top, level, cleared)
        least, most = np.minimum(least, bottom), np.maximum(most, top)
        fires, stays = top >= level, bottom < level
        ever_fires |= fires
        after = [cleared, cleared]
        if neurons["soft_reset"]:
            after = [np.maximum(bottom, level) - cleared, top - cleared]
        after = [np.where(fires, end, 0) for end in after]
        held("its membrane potentials after a spike do not fit 32 bits", *after)
        lowest = np.where(stays, bottom, after[0])
        highest = np.where(stays, np.minimum(top, level - 1), after[1])
        u = [
            np.where(fires, np.minimum(lowest, after[0]), bottom),
            np.where(fires, np.maximum(highest, after[1]), top),
        ]
        held("its membrane potentials do not fit their bits between steps", *u, most=stored)
    return least, most, ever_fires


def lanes_hold(
    least: np.ndarray,
    most: np.ndarray,
    threshold: np.ndarray,
    reset: np.ndarray,
    neurons: Mapping[str, int],
) -> bool:
    """Whether neurons of `FixedPointLIF` can be computed side by side in lanes of `potential_bits`.

    least, most: what `neuron_interval` returns. A lane must hold potentials before they are reset;
    they halve at every step, thresholds are above 0, and a spike leaves 0.
    """
    halves = (neurons["exact"], neurons["leak_multiplier"], neurons["leak_shift"]) == (0, 1, 1)
    end = 1 << (neurons["potential_bits"] - 1)
    to_zero = not neurons["soft_reset"] and not reset.any() and threshold.min() > 0
    return halves and to_zero and int(least.min()) > -end and int(most.max()) < end
