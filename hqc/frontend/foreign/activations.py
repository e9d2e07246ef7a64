"""Quantizers of activations: of spikes they change nothing, and the input's is ours."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.dialect.quant_uniform import code_range
from hqc.frontend.foreign.grid import Grid
from hqc.frontend.foreign.levels import MOVES
from hqc.frontend.foreign.registry import Rewriting
from hqc.passes.graph import unsupported

_WIDEST, _BYTE = 16, 8
"""Bits of a quantizer, and of codes that are clipped: wider frames are not compiled."""

_BETWEEN = "activations between layers must be spikes; quantize weights and the input only"


def read_activation(
    node: ir.Node, x: ir.Value, grid: Grid, rewriting: Rewriting, bits: int | None = None
) -> None:
    """Put what a quantizer does to an activation in place of the node that gives its result.

    Numbers that are levels of its grid stay as they are, or are all multiplied by one number; the
    input is given a quantizer of ours, of `bits` or more. Raises `UnsupportedModelError` for
    anything else.
    """
    factor = _factor(x, grid, rewriting)
    if factor == 1:
        rewriting.replace(node, x)
    elif factor is not None:
        number = rewriting.constant(np.array(factor, np.float32), f"{node.name}.factor")
        name = node.name
        node.name = f"{name}.written"
        rewriting.replace(node, rewriting.insert(node, ir.node("Mul", [x, number], name=name)))
    elif not _is_moved_input(x):
        raise unsupported(node, "it quantizes an activation inside the network", _BETWEEN)
    else:
        _quantize_input(node, x, grid, rewriting, bits)


def _factor(x: ir.Value, grid: Grid, rewriting: Rewriting) -> np.float32 | None:
    """The one number that the quantizer multiplies all that x can be with; None without such."""
    numbers = rewriting.levels.of(x)
    if numbers is None:
        return None
    numbers = numbers.reshape(-1)
    made = grid.of_each(numbers)
    if not numbers.any():
        return np.float32(1) if not made.any() else None
    at = np.abs(numbers).argmax()
    factor = np.float32(made[at, 0] / numbers[at])
    return (
        factor
        if np.array_equal(made, np.broadcast_to((numbers * factor)[:, None], made.shape))
        else None
    )


def _is_moved_input(x: ir.Value) -> bool:
    """Whether a value holds the input's numbers, moved."""
    while True:
        node = x.producer()
        if node is None:
            return x.is_graph_input()
        is_join = node.op_type == "Concat" and len(set(node.inputs)) == 1
        if node.domain or not (is_join or node.op_type in MOVES):
            return False
        x = node.inputs[0]


def _quantize_input(
    node: ir.Node, x: ir.Value, grid: Grid, rewriting: Rewriting, bits: int | None
) -> None:
    """A quantizer of the input, and a Clip where its codes end elsewhere than those of any bits."""
    scale, attributes, low, high = _ours(node, grid, bits)
    name = node.name
    node.name = f"{name}.written"
    given = [x, rewriting.constant(np.array([scale]), f"{name}.scale")]
    made = ir.node("QuantUniform", given, attributes, domain=DIALECT, name=name)
    value = rewriting.insert(node, made)
    if (low, high) != code_range(**attributes):
        ends = [
            rewriting.constant(np.array(n, np.float32) * scale, f"{name}.{what}")
            for n, what in ((low, "least"), (high, "greatest"))
        ]
        value = rewriting.insert(node, ir.node("Clip", [value, *ends], name=f"{name}/Clip"))
    rewriting.replace(node, value)


def _ours(
    node: ir.Node, grid: Grid, width: int | None
) -> tuple[np.float32, dict[str, int], int, int]:
    """Scale and attributes of our quantizer, and the ends of the codes less their zero point."""
    if np.ptp(grid.scale) or np.ptp(grid.zero) or not grid.scale.flat[0] > 0:
        raise unsupported(
            node,
            f"the frames have scales {np.unique(grid.scale).tolist()} and zero points "
            f"{np.unique(grid.zero).tolist()}",
            "give them one scale, above 0, and one zero point",
        )
    zero = grid.zero.flat[0]
    if type(grid) is not Grid or grid.rounding is not np.round or (zero and not grid.rounds_first):
        raise unsupported(
            node,
            "it rounds the frames otherwise than to the nearest multiple of their scale",
            "quantize the input without a zero point, rounding halves to even",
        )
    low, high = int(grid.low - zero), int(grid.high - zero)
    for bits in range(max(width or 2, 2), _WIDEST + 1):
        for signed, narrow in ((0, 0), (1, 1), (1, 0)):
            least, most = code_range(bits, signed, narrow)
            is_wider = bits <= _BYTE and least <= low and high <= most
            if (least, most) == (low, high) or is_wider:
                attributes = {"bits": bits, "signed": signed, "narrow": narrow}
                return grid.scale.flat[0], attributes, low, high
    raise unsupported(
        node,
        f"it quantizes the frames to codes from {low} to {high}, less its zero point of {zero:g}",
        "no byte holds them: let codes from 0 to 255 have a zero point of 0 or 128",
    )
