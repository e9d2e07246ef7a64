"""Constants that are joined to activations, as class tokens are."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.passes.graph import constant, integer
from hqc.passes.spellings.spelling import Rewrite, spelling


@spelling("Concat")
def joined_constants(rewrite: Rewrite) -> None:
    """Constants beside activations -> zeros beside these, plus the constants in their place."""
    node = rewrite.node
    arrays = [constant(v) for v in node.inputs]
    if all(a is None for a in arrays) or all(a is not None for a in arrays):
        return
    made = node.outputs[0].shape.numpy()
    axis = integer(node, "axis", 0) % len(made)
    numbers, start = np.zeros(made, np.float32), 0
    parts: list[tuple[ir.Value, int, int]] = []  # an activation, zeros before it and behind it
    waiting = 0
    for value, array in zip(node.inputs, arrays, strict=True):
        size = value.shape.numpy()[axis]
        if array is None:
            parts.append((value, waiting, 0))
            waiting = 0
        else:
            place = [slice(None)] * len(made)
            place[axis] = slice(start, start + size)
            numbers[tuple(place)] = array
            if parts:
                x, before, behind = parts[-1]
                parts[-1] = (x, before, behind + size)
            else:
                waiting += size
        start += size
    padded = [_between_zeros(rewrite, i, axis, *part) for i, part in enumerate(parts)]
    whole = padded[0]
    if len(padded) > 1:
        whole = rewrite.op("Concat", padded, made, what="joined", axis=axis)
    rewrite.finish(rewrite.op("Add", [whole, rewrite.constant(numbers, "numbers")], made))


def _between_zeros(
    rewrite: Rewrite, number: int, axis: int, x: ir.Value, before: int, behind: int
) -> ir.Value:
    if not before and not behind:
        return x
    around = np.zeros((2, len(x.shape)), np.int64)
    around[:, axis] = before, behind
    shape = [n + before + behind if i == axis else n for i, n in enumerate(x.shape.numpy())]
    pads = rewrite.constant(around.reshape(-1), f"pads{number}")
    return rewrite.op("Pad", [x, pads], shape, what=f"padded {number}")
