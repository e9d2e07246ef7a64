"""Padding is written as the `pads` of the convolution or pooling that it is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from hqc.passes.graph import constant, ints
from hqc.passes.pass_base import Pass, register


@register
@dataclass(frozen=True)
class FoldPadding(Pass):
    """One spelling of padding.

    1. `auto_pad` of Conv, MaxPool and AveragePool -> the `pads` that it stands for.
    2. Conv(Pad(x)) -> Conv(x), where Pad adds zeros to the image's axes alone.
    """

    name: ClassVar[str] = "fold-padding"
    tolerance: ClassVar[float] = 1e-6

    def run(self, model: ir.Model) -> ir.Model:
        """Rewrite every such pair."""
        for node in list(model.graph):
            if not node.domain and node.op_type in ("Conv", "MaxPool", "AveragePool"):
                _write_pads(node)
            pad = node.inputs[0].producer() if node.op_type == "Conv" else None
            if pad is None or pad.domain or pad.op_type != "Pad":
                continue
            amounts = zeros_around(pad, rank=len(node.inputs[1].shape))
            if amounts is None:
                continue
            own = ints(node, "pads", [0] * len(amounts))
            total = [a + b for a, b in zip(own, amounts, strict=True)]
            node.attributes["pads"] = ir.AttrInt64s("pads", total)
            node.replace_input_with(0, pad.inputs[0])
            if not pad.outputs[0].uses():
                model.graph.remove(pad, safe=True)
        return model


def _write_pads(node: ir.Node) -> None:
    """Replace `auto_pad` by the pads that ONNX defines it by, from the sizes before and after."""
    auto = node.attributes.pop("auto_pad", None)
    if auto is None or auto.value == "NOTSET":
        return
    before, after = (v.shape.numpy()[2:] for v in (node.inputs[0], node.outputs[0]))
    kernel = node.inputs[1].shape.numpy()[2:] if node.op_type == "Conv" else ()
    kernel = ints(node, "kernel_shape", kernel)
    strides, dilations = (ints(node, name, [1] * len(kernel)) for name in ("strides", "dilations"))
    begins, ends = [], []
    for size, made, k, stride, dilation in zip(
        before, after, kernel, strides, dilations, strict=True
    ):
        total = max((made - 1) * stride + (k - 1) * dilation + 1 - size, 0)
        small, large = total // 2, total - total // 2
        if auto.value == "VALID":
            small = large = 0
        begins.append(large if auto.value == "SAME_LOWER" else small)
        ends.append(small if auto.value == "SAME_LOWER" else large)
    node.attributes["pads"] = ir.AttrInt64s("pads", begins + ends)


def zeros_around(pad: ir.Node, rank: int) -> list[int] | None:
    """Begins, then ends, of the spatial axes; None for any other padding."""
    mode = pad.attributes["mode"].value if "mode" in pad.attributes else "constant"
    amounts, value, axes = (
        constant(pad.inputs[i]) if len(pad.inputs) > i else None for i in (1, 2, 3)
    )
    filled = value is None and len(pad.inputs) > 2 and pad.inputs[2] is not None
    if mode != "constant" or amounts is None or filled or (value is not None and value.any()):
        return None
    around = np.zeros((2, rank), int)
    around[:, range(rank) if axes is None else axes] = amounts.reshape(2, -1)
    if around[:, :2].any() or (around < 0).any():
        return None
    return around[:, 2:].reshape(-1).tolist()
