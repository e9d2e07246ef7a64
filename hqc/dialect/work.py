"""How many multiply-accumulates layers make in a whole run, zeros and padding counted too."""

from __future__ import annotations

import math

import onnx_ir as ir


def of_windows(node: ir.Node) -> int:
    """Every weight at every position and time step of the output, [T, H, W, ...]."""
    return math.prod((*node.inputs[1].shape.numpy(), *node.outputs[0].shape.numpy()[:3]))


def of_rows(node: ir.Node) -> int:
    """Every weight for every row of the input, [N, C]."""
    return math.prod((*node.inputs[1].shape.numpy(), *node.inputs[0].shape.numpy()[:-1]))


def of_products(node: ir.Node) -> int:
    """Every row of a, [T, B, N, ...], with every row of b, [T, B, columns, ...]."""
    rows = math.prod(node.inputs[0].shape.numpy()[:3])
    return rows * node.inputs[1].shape.numpy()[2] * node.attributes["channels"].value


def of_attention(node: ir.Node) -> int:
    """K^T V and Q (K^T V) of every head: tokens times channels of a head, twice."""
    channels, heads = (node.attributes[name].value for name in ("channels", "heads"))
    return 2 * math.prod(node.inputs[0].shape.numpy()[:3]) * channels * channels // heads
