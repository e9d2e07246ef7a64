"""Leaky integrate-and-fire neurons with a surrogate gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from hqc.errors import UserError


def integrate(
    x: Tensor,
    tau: float,
    v_threshold: float,
    v_reset: float | None,
    decay_input: bool,
    drop: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Membrane potentials before any reset, and spikes, of `LIF`: x [T, ...] -> both [T, ...].

    Potentials are single precision in training with mixed precision too.
    """
    v = torch.zeros_like(x[0], dtype=torch.float32)
    charged, spikes = [], []
    for x_t in x.unbind():
        v = v + (x_t - v) / tau if decay_input else v * (1 - 1 / tau) + x_t
        charged.append(v)
        fires = (v >= v_threshold).float()
        spikes.append(fires.to(x.dtype))
        if v_reset is None:
            v = v - fires * (v_threshold if drop is None else drop)
        else:
            v = v * (1 - fires) + v_reset * fires
    return torch.stack(charged), torch.stack(spikes)


def surrogate_gradient(
    grad: Tensor,
    charged: Tensor,
    tau: float,
    v_threshold: float,
    v_reset: float | None,
    decay_input: bool,
) -> Tensor:
    """Gradient of the input of `LIF` from that of its spikes, both [T, ...].

    A spike's gradient is that of an arctangent (Fang et al. 2021, alpha = 2). The reset is detached
    from the graph, as in Spikformer's training.
    """
    keep, gain = 1 - 1 / tau, 1 / tau if decay_input else 1.0
    from_next = torch.zeros_like(charged[0])
    to_x = []
    for grad_t, v_t in zip(reversed(grad.unbind()), reversed(charged.unbind()), strict=True):
        distance = v_t - v_threshold
        if v_reset is not None:
            from_next = from_next * (distance < 0)
        to_v = grad_t * ((distance * math.pi).square() + 1).reciprocal() + from_next
        to_x.append((to_v * gain).to(grad.dtype))
        from_next = to_v * keep
    return torch.stack(to_x[::-1])


@cache
def _compiled(function: Callable) -> Callable:
    """The function as one kernel for each layout and precision, whatever the shapes."""
    return torch.compile(function, dynamic=True)


class _Steps(torch.autograd.Function):
    """All time steps of `LIF`, keeping only the charged potentials for the way back."""

    @staticmethod
    def forward(ctx, x: Tensor, neuron: tuple, fused: bool):
        charged, spikes = (_compiled(integrate) if fused else integrate)(x, *neuron)
        ctx.save_for_backward(charged)
        ctx.neuron, ctx.fused = neuron, fused
        return spikes

    @staticmethod
    def backward(ctx, grad: Tensor):
        gradient = _compiled(surrogate_gradient) if ctx.fused else surrogate_gradient
        return gradient(grad, *ctx.saved_tensors, *ctx.neuron[:-1]), None, None


class LIF(nn.Module):
    """LIF neurons over a leading time axis: x [T, ...] -> spikes {0, 1} [T, ...].

    Charge:  v += (x - v) / tau           (decay_input, needs v_reset = 0 or soft reset)
             v  = v * (1 - 1 / tau) + x   (otherwise; tau = inf is IF)
    Fire:    s = v >= v_threshold
    Reset:   v = v_reset where s, or v -= drop * s when v_reset is None (soft); drop is v_threshold
             if none is given.
    """

    def __init__(
        self,
        tau: float = 2.0,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        decay_input: bool = True,
        drop: float | None = None,
    ) -> None:
        super().__init__()
        self.tau, self.v_threshold, self.v_reset = tau, v_threshold, v_reset
        self.decay_input, self.drop = decay_input, drop
        self.fused = False

    def extra_repr(self) -> str:
        return (
            f"tau={self.tau}, v_threshold={self.v_threshold}, v_reset={self.v_reset}, "
            f"decay_input={self.decay_input}" + ("" if self.drop is None else f", drop={self.drop}")
        )

    @property
    def levels(self) -> tuple[float, ...]:
        """Constants that potentials are compared with, or set to."""
        return float(self.v_threshold), float(self.v_reset or 0.0)

    @property
    def _lands_at(self) -> float:
        """Where a potential at the threshold is reset to."""
        if self.v_reset is None:
            return 0.0 if self.drop is None else self.v_threshold - self.drop
        return self.v_reset

    def forward(self, x: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            return torch.onnx.ops.symbolic(
                "ai.hqc::LIF",
                (x,),
                {
                    "tau": float(self.tau),
                    "v_threshold": float(self.v_threshold),
                    "v_reset": float(self._lands_at),
                    "soft_reset": int(self.v_reset is None),
                    "decay_input": int(self.decay_input),
                },
                dtype=x.dtype,
                shape=x.shape,
                version=1,
            )
        neuron = (self.tau, self.v_threshold, self.v_reset, self.decay_input, self.drop)
        return _Steps.apply(x, neuron, self.fused and self.training)


def fuse_neurons(model: nn.Module) -> None:
    """Compile the steps of `LIF` layers into one kernel each, and their gradient's, for training.

    Raises `UserError` where there is no compiler that could.
    """
    from torch._inductor.exc import InductorError  # takes as long to import as torch does

    layers = [module for module in model.modules() if isinstance(module, LIF)]
    for layer in layers:
        layer.fused = True
    if not layers:
        return
    device = next((p.device for p in model.parameters()), None)
    try:
        layers[0].train()(torch.zeros(2, 3, device=device))
    except InductorError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"torch.compile cannot fuse neurons: {reason}",
            hint="install a C++ compiler (for a GPU also Triton), or leave out --fuse-neurons",
        ) from None
