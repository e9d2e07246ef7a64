"""Time steps as positions, and rows as time steps, which lie in memory alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT, KERNEL
from hqc.dialect.facts import Facts
from hqc.dialect.layouts import is_after_last_step
from hqc.passes.axes import joined, rows_as_steps, rows_outermost, size_of
from hqc.passes.packing.packed import Packed, Packing, packs


@packs("JoinSteps", domain=DIALECT)
def pack_join(node: ir.Node, packing: Packing) -> Packed:
    """KeepSteps, whose positions are those of all time steps."""
    x = packing.input(node)
    return _lying(packing, x, replace(kept(packing, x), view=joined(x.view)))


@packs("SplitSteps", domain=DIALECT)
def pack_split(node: ir.Node, packing: Packing) -> Packed:
    """The same numbers, laid out so that the rows are outermost."""
    x = packing.input(node)
    rows = rows_outermost(x.view, node.attributes["channels"].value)
    x = kept(packing, packing.laid_out(node, x, rows))
    return _lying(packing, x, replace(x, view=rows_as_steps(rows)))


def kept(packing: Packing, x: Packed) -> Packed:
    """x of all time steps, when they have been computed."""
    if is_after_last_step(x.value):
        return x
    value = packing.builder.op(
        "KeepSteps", [x.value], x.value.shape.numpy(), x.value.dtype,
        name=f"{x.value.producer().name}/KeepSteps", domain=KERNEL,
    )  # fmt: skip
    Facts.of(x.value).write(value)
    return replace(x, value=value)


def _lying(packing: Packing, x: Packed, made: Packed) -> Packed:
    """The value with the time steps and positions of the view that it is given."""
    sizes = {root: size_of(made.view, root) for root in "TCYX"}
    shape = (sizes["T"], sizes["Y"], sizes["X"], *made.value.shape.numpy()[3:])
    target = packing.builder.initializer(np.array(shape, np.int64), "steps.shape")
    value = packing.builder.op("Reshape", [made.value, target], shape, x.value.dtype, name="steps")
    Facts.of(made.value).write(value)
    return replace(made, value=value, sizes=sizes)
