"""Ops of torch that its ONNX exporter does not know, as published networks use them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnxscript import opset18 as op


def _adaptive_avg_pool3d(x, output_size: Sequence[int]):
    """A mean over positions [N, C, D, H, W] -> [N, C, D, 1, 1], where D stays as it is."""
    if output_size[0] not in (x.shape[-3], None) or list(output_size[1:]) != [1, 1]:
        raise NotImplementedError(
            f"adaptive_avg_pool3d to {list(output_size)}: only means over all of height and width "
            "are exported"
        )
    axes: Any = op.Constant(value_ints=[-2, -1])
    return op.ReduceMean(x, axes, keepdims=1)


TRANSLATIONS: dict[Callable, Callable] = {
    torch.ops.aten._adaptive_avg_pool3d.default: _adaptive_avg_pool3d
}
"""For `torch.onnx.export`: how each is written in ops of standard ONNX."""
