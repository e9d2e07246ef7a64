"""PadPotentials and AddPositions: a border around potentials, and numbers by position."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.invariants import constant_of, expect, expect_shape, expect_within, facts_of
from hqc.dialect.op import KERNEL, Op, register


def pad_potentials(x: np.ndarray, *, pads: list[int]) -> np.ndarray:
    """x int32 [T, H, W, C], zeros put around: `pads` are top, left, bottom and right."""
    top, left, bottom, right = pads
    return np.pad(x, [(0, 0), (top, bottom), (left, right), (0, 0)])


def add_positions(x: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """x int32 [T, H, W, C] plus numbers int32 [H, W, C], the same at every time step."""
    return x + numbers


def _verify_pad(node: ir.Node) -> None:
    x = facts_of(node.inputs[0], "potentials")
    expect("the unit", facts_of(node.outputs[0], "potentials").unit, x.unit)
    steps, height, width, columns = node.inputs[0].shape.numpy()
    top, left, bottom, right = node.attributes["pads"].value
    made = (steps, top + height + bottom, left + width + right, columns)
    expect_shape(node.outputs[0], made)
    expect_within(node.outputs[0], np.minimum(x.low, 0), np.maximum(x.high, 0))


def verify_positions(node: ir.Node) -> None:
    """Potentials, and constants in their unit that are added to them at every time step."""
    x, numbers = facts_of(node.inputs[0], "potentials"), constant_of(node.inputs[1])
    expect("the unit", facts_of(node.outputs[0], "potentials").unit, x.unit)
    expect("the type of its numbers", numbers.dtype, np.dtype(np.int32))
    shape = node.inputs[0].shape.numpy()
    expect_shape(node.outputs[0], shape)
    expect("the shape of the sum", np.broadcast_shapes(numbers.shape, shape), shape)
    low, high = np.min(x.low) + int(numbers.min()), np.max(x.high) + int(numbers.max())
    expect_within(node.outputs[0], np.array(low), np.array(high))


PAD_POTENTIALS = register(
    Op(
        """
        PadPotentials <pads> (x) => (y)
        {
            amounts = Constant <value_ints: ints = @pads> ()
            positions = Constant <value_ints = [1, 2]> ()
            y = Pad(x, amounts, , positions)
        }
        """,
        reference=pad_potentials,
        verify=_verify_pad,
        domain=KERNEL,
    )
)
ADD_POSITIONS = register(
    Op(
        "AddPositions (x, numbers) => (y) { y = Add(x, numbers) }",
        reference=add_positions,
        verify=verify_positions,
        domain=KERNEL,
    )
)
