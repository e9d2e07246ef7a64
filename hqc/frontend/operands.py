"""What shape inference does not see: the operands of our ops, and the biases of layers."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from hqc.dialect import DIALECT, Op, find_op
from hqc.errors import UserError

ON_FLOATS = ("QuantUniform", "QuantPow2", "LIF", "IntegerLIF")
"""Ops of the dialect that a user writes."""


def check_operands(path: Path, model: ir.Model) -> None:
    """Raise `UserError`, naming the node, for operands that do not fit each other.

    The shapes of the model must be known.
    """
    for node in model.graph:
        op = find_op(node)
        problem = _of_ours(op, node) if op else _of_bias(node) if not node.domain else None
        if problem:
            domain = f"{node.domain}::" if node.domain else ""
            raise UserError(
                f"{path}: node {node.name!r} ({domain}{node.op_type}): {problem}",
                hint="does the model run in onnxruntime? if not, export it again",
            )


def _of_ours(op: Op, node: ir.Node) -> str | None:
    wanted = len(op.proto.input)
    if len(node.inputs) != wanted or None in node.inputs:
        given = sum(value is not None for value in node.inputs)
        return f"it has {given} inputs, not {wanted}"
    if node.domain != DIALECT or node.op_type not in ON_FLOATS:
        return None
    if any(value.dtype != ir.DataType.FLOAT for value in node.inputs):
        return f"it reads {' and '.join(v.dtype.name for v in node.inputs)}, not FLOAT"
    x = node.inputs[0].shape.numpy()
    if not x:
        return "it reads a single number"
    if not node.op_type.startswith("Quant"):
        return None
    axis, scale = op.attributes(node)["axis"], node.inputs[1].shape.numpy()
    if not -len(x) <= axis < len(x):
        return f"axis {axis} is none of {list(x)}"
    if scale not in ((), (1,), (x[axis],)):
        return f"scales {list(scale)} are neither one number nor one for each of {x[axis]} channels"
    return None


def _of_bias(node: ir.Node) -> str | None:
    bias = node.inputs[2] if len(node.inputs) > 2 and node.op_type in ("Conv", "Gemm") else None
    if bias is None:
        return None
    shape, out = bias.shape.numpy(), node.outputs[0].shape.numpy()
    if node.op_type == "Conv":
        fits = shape == out[1:2]
    else:
        fits = len(shape) <= 2 and all(
            a in (1, b) for a, b in zip(shape[::-1], out[::-1], strict=False)
        )
    return None if fits else f"its bias {list(shape)} does not fit its output {list(out)}"
