"""Views move the integers as they moved the floats."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.passes.graph import ints, unsupported
from hqc.passes.infer_ranges import RANGE
from hqc.passes.integer_rules.quantity import Lowering, Quantity, Weights, rule


def _moved(node: ir.Node, x: Quantity, value: ir.Value, axis: int | None) -> Quantity:
    if RANGE in x.value.metadata_props:
        value.metadata_props[RANGE] = x.value.metadata_props[RANGE]
    if axis is None and x.scale.ndim:
        raise unsupported(node, "it splits or merges channels before the neurons that read them")
    return Quantity(value, x.scale, x.offset, x.low, x.high, axis or 0, x.weights, x.weights_axis)


@rule("Identity", "Dropout")
def lower_identity(node: ir.Node, lowering: Lowering) -> Quantity | Weights:
    """Nothing is left of it."""
    found = lowering.env.get(node.inputs[0])
    return found if isinstance(found, Weights) else lowering.quantity(node, 0)


@rule("Transpose")
def lower_transpose(node: ir.Node, lowering: Lowering) -> Quantity | Weights:
    """The same permutation; of weights, it is done now."""
    perm = ints(node, "perm", range(len(node.outputs[0].shape))[::-1])
    found = lowering.env.get(node.inputs[0])
    if isinstance(found, Weights):
        return found.transposed(perm)
    x = lowering.quantity(node, 0)
    value = lowering.builder.op(
        "Transpose",
        [x.value],
        node.outputs[0].shape.numpy(),
        x.value.dtype,
        name=node.name,
        perm=perm,
    )
    return _moved(node, x, value, perm.index(x.axis))


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def lower_reshape(node: ir.Node, lowering: Lowering) -> Quantity:
    """A Reshape to the static shape; the channel axis is followed through it."""
    x = lowering.quantity(node, 0)
    shape = node.outputs[0].shape.numpy()
    target = lowering.builder.initializer(np.array(shape, np.int64), f"{node.name}.shape")
    value = lowering.builder.op("Reshape", [x.value, target], shape, x.value.dtype, name=node.name)
    outer = np.prod(x.shape[: x.axis], dtype=int)
    axes = [
        i
        for i, size in enumerate(shape)
        if np.prod(shape[:i], dtype=int) == outer and size == x.shape[x.axis]
    ]
    return _moved(node, x, value, axes[0] if axes else None)
