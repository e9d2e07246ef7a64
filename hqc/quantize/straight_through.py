"""What quantizers need to be trained: the straight-through estimator, and positive scales."""

from __future__ import annotations

import torch
from torch import Tensor


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value: Tensor, path: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[None, Tensor]:
        return None, grad


def straight_through(value: Tensor, path: Tensor) -> Tensor:
    """Exactly `value` in the forward pass, the gradient of `path` in the backward pass (Bengio et al. 2013)."""
    return _StraightThrough.apply(value.detach(), path)


@torch.no_grad()
def keep_positive(scale: Tensor, least: float = 1e-6) -> None:
    """Project a learned scale back to positive numbers, in place, after an optimizer's step."""
    scale.clamp_(min=least)
