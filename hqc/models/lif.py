"""Leaky integrate-and-fire neurons with a surrogate gradient."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def integrate(
    x: Tensor, tau: float, v_threshold: float, v_reset: float | None, decay_input: bool
) -> tuple[Tensor, Tensor]:
    """Membrane potentials before any reset, and spikes, of `LIF`: x [T, ...] -> both [T, ...]."""
    charged, spikes = torch.empty_like(x), torch.empty_like(x)
    v = torch.zeros_like(x[0])
    for x_t, v_t, s_t in zip(x, charged, spikes, strict=True):
        if decay_input:
            torch.sub(x_t, v, out=v_t).div_(tau).add_(v)
        else:
            torch.mul(v, 1 - 1 / tau, out=v_t).add_(x_t)
        s_t.copy_(v_t >= v_threshold)
        v = v_t - s_t * v_threshold if v_reset is None else v_t.masked_fill(s_t > 0, v_reset)
    return charged, spikes


class _Steps(torch.autograd.Function):
    """All time steps of `LIF`, keeping only the charged potentials for the way back.

    A spike's gradient is that of an arctangent (Fang et al. 2021, alpha = 2). The reset is detached
    from the graph, as in Spikformer's training.
    """

    @staticmethod
    def forward(ctx, x: Tensor, tau: float, v_threshold: float, v_reset, decay_input: bool):
        charged, spikes = integrate(x, tau, v_threshold, v_reset, decay_input)
        ctx.save_for_backward(charged)
        ctx.neuron = (tau, v_threshold, v_reset, decay_input)
        return spikes

    @staticmethod
    def backward(ctx, grad: Tensor):
        (charged,) = ctx.saved_tensors
        tau, v_threshold, v_reset, decay_input = ctx.neuron
        keep, gain = 1 - 1 / tau, 1 / tau if decay_input else 1.0
        to_x = torch.empty_like(charged)
        from_next = torch.zeros_like(charged[0])
        for grad_t, v_t, to_x_t in zip(
            reversed(grad.unbind()),
            reversed(charged.unbind()),
            reversed(to_x.unbind()),
            strict=True,
        ):
            distance = v_t - v_threshold
            if v_reset is not None:
                from_next.masked_fill_(distance >= 0, 0)
            to_v = distance.mul_(math.pi).square_().add_(1).reciprocal_().mul_(grad_t)
            to_v += from_next
            torch.mul(to_v, gain, out=to_x_t)
            from_next = to_v.mul_(keep)
        return to_x, None, None, None, None


class LIF(nn.Module):
    """LIF neurons over a leading time axis: x [T, ...] -> spikes {0, 1} [T, ...].

    Charge:  v += (x - v) / tau           (decay_input, needs v_reset = 0 or soft reset)
             v  = v * (1 - 1 / tau) + x   (otherwise; tau = inf is IF)
    Fire:    s = v >= v_threshold
    Reset:   v = v_reset where s, or v -= v_threshold * s when v_reset is None (soft).
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
        # Potentials are single precision in training with mixed precision too.
        return _Steps.apply(x.float(), self.tau, self.v_threshold, self.v_reset, self.decay_input)
