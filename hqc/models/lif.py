"""Leaky integrate-and-fire neurons with a surrogate gradient."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class _Heaviside(torch.autograd.Function):
    """Step function whose gradient is that of an arctangent (Fang et al. 2021, alpha = 2)."""

    @staticmethod
    def forward(ctx, distance: Tensor) -> Tensor:
        ctx.save_for_backward(distance)
        return (distance >= 0).to(distance.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        (distance,) = ctx.saved_tensors
        return grad / (1 + (math.pi * distance).square())


class LIF(nn.Module):
    """LIF neurons over a leading time axis: x [T, ...] -> spikes {0, 1} [T, ...].

    Charge:  v += (x - v) / tau           (decay_input, needs v_reset = 0 or soft reset)
             v  = v * (1 - 1 / tau) + x   (otherwise; tau = inf is IF)
    Fire:    s = v >= v_threshold
    Reset:   v = v_reset where s, or v -= v_threshold * s when v_reset is None (soft).
    The reset is detached from the graph, as in Spikformer's training.
    """

    def __init__(
        self,
        tau: float = 2.0,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        decay_input: bool = True,
    ) -> None:
        super().__init__()
        self.tau, self.v_threshold, self.v_reset = tau, v_threshold, v_reset
        self.decay_input = decay_input

    def extra_repr(self) -> str:
        return (
            f"tau={self.tau}, v_threshold={self.v_threshold}, v_reset={self.v_reset}, "
            f"decay_input={self.decay_input}"
        )

    def forward(self, x: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            return torch.onnx.ops.symbolic(
                "ai.hqc::LIF",
                (x,),
                {
                    "tau": float(self.tau),
                    "v_threshold": float(self.v_threshold),
                    "v_reset": float(self.v_reset or 0.0),
                    "soft_reset": int(self.v_reset is None),
                    "decay_input": int(self.decay_input),
                },
                dtype=x.dtype,
                shape=x.shape,
                version=1,
            )
        v = torch.zeros_like(x[0])
        spikes = []
        for x_t in x:
            v = v + (x_t - v) / self.tau if self.decay_input else v * (1 - 1 / self.tau) + x_t
            s = _Heaviside.apply(v - self.v_threshold)
            fired = s.detach()
            if self.v_reset is None:
                v = v - fired * self.v_threshold
            else:
                v = torch.where(fired > 0, self.v_reset, v)
            spikes.append(s)
        return torch.stack(spikes)
