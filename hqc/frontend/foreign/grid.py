"""What a quantizer of another notation does to numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Rounding = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Grid:
    """Whole codes from `low` to `high`, less `zero`, times `unit`.

    `scale` (float32), what numbers are divided by, and `zero` broadcast to what is quantized.
    Quotients are rounded, by `rounding`, before `zero` is added or after.
    """

    scale: np.ndarray
    zero: np.ndarray
    low: int
    high: int
    rounding: Rounding = np.round
    rounds_first: bool = True

    @property
    def unit(self) -> np.ndarray:
        """What codes are multiplied with."""
        return self.scale

    def codes(self, x: np.ndarray) -> np.ndarray:
        """The codes of float32 numbers, less the zero point, as float32 numbers."""
        zero = self.zero.astype(np.float32)
        ratio = x.astype(np.float32) / self.scale
        if self.rounds_first:
            return np.clip(self.rounding(ratio) + zero, self.low, self.high) - zero
        return self.rounding(np.clip(ratio + zero, self.low, self.high)) - zero

    def apply(self, x: np.ndarray) -> np.ndarray:
        """What x becomes."""
        return self.codes(x) * self.unit

    def of_each(self, numbers: np.ndarray) -> np.ndarray:
        """What each of some numbers becomes by each scale and zero point: a row for each number."""
        ranks = max(self.scale.ndim, self.zero.ndim, self.unit.ndim)
        made = self.apply(numbers.reshape(-1, *[1] * ranks))
        return made.reshape(numbers.size, -1)
