"""Layers with a memory that is written out in ops over all time steps, which torch traces."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Integrator(nn.Module):
    """A leaky integrator without spikes, as a read-out: x [T, ...] -> its potentials.

    v += (x - v) / tau, or with tau = inf v += x. That is a product with a matrix of steps by steps.
    `decode` says what leaves: a list of all potentials (None), or their "max-mem", "max-abs-mem",
    "mean-mem" or "last_mem" over time.
    """

    def __init__(self, tau: float, decode: str | None) -> None:
        super().__init__()
        self._keep = 1 - 1 / tau
        self._gain = 1.0 if self._keep == 1 else 1 / tau
        self._decode = decode

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """See the class."""
        steps = torch.arange(len(x), dtype=torch.float64)
        past = steps[:, None] - steps
        kept = torch.where(past < 0, 0.0, self._gain * self._keep ** past.clamp(min=0))
        v = (kept.to(x) @ x.flatten(1)).view(x.shape)
        if self._decode == "last_mem":
            return v[-1]
        if self._decode == "mean-mem":
            return v.mean(0)
        if self._decode == "max-mem":
            return v.amax(0)
        if self._decode == "max-abs-mem":
            high, low = v.amax(0), v.amin(0)
            return torch.maximum(high, low) * (high >= -low) + low * (high < -low)
        return list(v.unbind(0))


class Levels(nn.Module):
    """Integer neurons of several levels with a memory: x [T, ...] -> {0 .. levels}."""

    def __init__(self, tau: float, v_threshold: float, levels: int) -> None:
        super().__init__()
        self._keep, self._threshold, self._levels = 1 - 1 / tau, v_threshold, levels

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        v = torch.zeros_like(x[0])
        counts = []
        for x_t in x.unbind():
            v = self._keep * v + x_t
            counts.append(torch.round((v / self._threshold).clamp(0, self._levels)))
            v = v - counts[-1] * self._threshold
        return torch.stack(counts)
