"""Padding that no convolution takes in, and constants that differ by position."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from hqc.passes.axes import axes, spell
from hqc.passes.fold_padding import zeros_around
from hqc.passes.graph import mixes_time, unsupported
from hqc.passes.integer_rules.quantity import Lowering, PotentialOverflowError, Quantity
from hqc.passes.integer_rules.registry import rule
from hqc.passes.integer_rules.time_steps import image


@rule("Pad", attributes=("mode",))
def lower_pad(node: ir.Node, lowering: Lowering) -> Quantity:
    """Zeros around an image of potentials."""
    x = image(node, lowering)
    amounts = zeros_around(node, rank=len(x.shape))
    if amounts is None:
        raise unsupported(
            node,
            f"it pads [{spell(x.view)}]; only zeros around images are lowered",
            "run canonicalize before",
        )
    x = lowering.potentials(node, 0).under(x.view)
    wide = [0, 0, *amounts[:2], 0, 0, *amounts[2:]]
    target = lowering.builder.initializer(np.array(wide, np.int64), f"{node.name}.pads")
    view = axes(*zip("TCYX", node.outputs[0].shape.numpy(), strict=True))
    like = replace(x, view=view, low=np.minimum(x.low, 0), high=np.maximum(x.high, 0))
    return lowering.emit(node, "Pad", [x.value, target], like, ir.DataType.INT32)


def add_by_position(node: ir.Node, lowering: Lowering, index: int, numbers: np.ndarray) -> Quantity:
    """Potentials plus a constant of their rank that differs by channel and position, not by step.

    It is rounded to the unit of the potentials.
    """
    x = lowering.potentials(node, index)
    sizes = zip(numbers.shape, x.view, strict=True)
    if any(n > 1 and "T" in {f.root for f in axis} for n, axis in sizes):
        raise mixes_time(
            node,
            f"its constant, of shape {list(numbers.shape)}, differs by time step",
            "let it be the same at every step",
        )
    whole = np.round(numbers / x.scale)
    # Words of channels that are not full have 0 added.
    low, high = x.low.min() + min(whole.min(), 0), x.high.max() + max(whole.max(), 0)
    reach = max(-low, high)
    if reach >= 2**30:
        stream = lowering.stream_of(node.outputs[0])
        raise PotentialOverflowError(node, stream, float(reach) / 2**30)
    error = x.error + np.max(np.abs(numbers - whole * x.scale))
    like = replace(x, low=np.int64(low), high=np.int64(high), error=error)
    constant = lowering.builder.initializer(whole.astype(np.int32), f"{node.name}.numbers")
    return lowering.emit(node, "Add", [x.value, constant], like, ir.DataType.INT32)
