"""Products whose weights are the first factor, as of steps by steps."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.passes.graph import constant, integer
from hqc.passes.spellings.spelling import Rewrite, spelling


def _are_weights(value: ir.Value) -> bool:
    """Whether a matrix is constant, or quantized from one, or the transpose of such."""
    node = value.producer()
    if node is not None and (node.op_type == "Transpose" or node.op_type.startswith("Quant")):
        return _are_weights(node.inputs[0])
    return len(value.shape) == 2 and constant(value) is not None


@spelling("MatMul")
def product(rewrite: Rewrite) -> None:
    """W @ x -> the transpose of x^T @ W^T."""
    weights, x = rewrite.node.inputs
    if _are_weights(weights) and not _are_weights(x) and len(x.shape) > 1:
        rewrite.finish(_turned(rewrite, weights, x, ""))


@spelling("Gemm")
def gemm(rewrite: Rewrite) -> None:
    """W @ x, beside its bias -> a MatMul, and an Add."""
    node = rewrite.node
    weights, x, *bias = node.inputs
    if not _are_weights(weights) or _are_weights(x):
        return
    if integer(node, "transA", 0):
        weights = rewrite.transposed(weights, "weights")
    if integer(node, "transB", 0):
        x = rewrite.transposed(x, "columns")
    made = _turned(rewrite, weights, x, "product")
    shape = made.shape.numpy()
    alpha, beta = (rewrite.attributes.get(name, 1.0) for name in ("alpha", "beta"))
    if alpha != 1:
        factor = rewrite.constant(np.array(alpha, np.float32), "alpha")
        made = rewrite.op("Mul", [made, factor], shape, what="times alpha")
    if bias and bias[0] is not None:
        term = rewrite.constant(constant(bias[0]) * np.float32(beta), "bias")
        made = rewrite.op("Add", [made, term], shape)
    rewrite.finish(made)


def _turned(rewrite: Rewrite, weights: ir.Value, x: ir.Value, what: str) -> ir.Value:
    """W @ x."""
    columns = rewrite.transposed(x, f"{what} columns")
    rows = rewrite.transposed(weights, f"{what} weights")
    shape = [*columns.shape.numpy()[:-1], rows.shape.numpy()[1]]
    return rewrite.transposed(rewrite.op("MatMul", [columns, rows], shape, what="rows"), what)
