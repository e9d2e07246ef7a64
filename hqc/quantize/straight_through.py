"""What quantizers need to be trained: the straight-through estimator, and positive scales."""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST = 1e-6


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value: Tensor, path: Tensor, inside: Tensor) -> Tensor:
        ctx.save_for_backward(inside)
        return value.view_as(value)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[None, Tensor, None]:
        (inside,) = ctx.saved_tensors
        return None, grad * inside, None


def straight_through(value: Tensor, path: Tensor, inside: Tensor) -> Tensor:
    """`value` exactly in the forward pass; backward the gradient of `path`, where it is `inside`.

    The straight-through estimator of Bengio et al. 2013, with clipping.
    """
    return _StraightThrough.apply(value.detach(), path, inside)


def working_scale(scale: Tensor, x: Tensor, axis: int, damping: float, *, training: bool) -> Tensor:
    """A learned scale as a quantizer divides by it: positive, shaped to broadcast along `axis`.

    The parameter itself is projected back to positive numbers, where an optimizer's step left
    them. In training its gradient is multiplied by `damping` (LSQ, Esser et al. 2020, section 2.2).
    """
    with torch.no_grad():
        scale.clamp_(min=_LEAST)
    if scale.ndim:
        shape = [1] * x.ndim
        shape[axis] = -1
        scale = scale.reshape(shape)
    if training:
        scale = scale * damping + (scale * (1 - damping)).detach()
    return scale
