"""Networks that floating point rounds nothing of, whatever the processor and the order of sums.

A spike is decided by a comparison, and the rounding of sums differs by processor. Where scales are
powers of two and all else are multiples of one, every sum is exact, and two programs that mean the
same network must agree in every spike.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hqc.quantize import QuantPow2, QuantUniform

FRACTION = 2**6
EPSILON = 2.0**-11


def powers_of_two(x: Tensor) -> Tensor:
    """The powers of two nearest to numbers other than 0, of the same signs."""
    return x.sign() * x.abs().log2().round().exp2()


@torch.no_grad()
def with_exact_numbers(model: nn.Module) -> nn.Module:
    """Round the scales, statistics, weights and biases of a trained model; return it."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eps = EPSILON
            variance = powers_of_two(module.running_var.sqrt()).square().clamp(min=2 * EPSILON)
            module.running_var.copy_(variance - EPSILON)
            module.weight.copy_(powers_of_two(module.weight))
            for numbers in (module.running_mean, module.bias):
                numbers.copy_((numbers * FRACTION).round() / FRACTION)
        elif isinstance(module, QuantUniform | QuantPow2):
            module.scale.copy_(powers_of_two(module.scale))
        elif isinstance(module, nn.Conv2d | nn.Linear):
            for numbers in module.parameters(recurse=False):
                numbers.copy_((numbers * FRACTION).round() / FRACTION)
    return model
