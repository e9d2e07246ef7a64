"""Potentials that leave the network."""

from __future__ import annotations

import onnx_ir as ir

from hqc.dialect import DIALECT, KERNEL
from hqc.dialect.facts import Facts
from hqc.dialect.layouts import is_after_last_step
from hqc.passes.axes import named, timeless
from hqc.passes.packing.packed import Packing, by_own_channels, packs


@packs("ReadPotentials", domain=DIALECT)
def pack_readout(node: ir.Node, packing: Packing) -> None:
    """ReadLogits, of what time steps gave together or one by one."""
    x = packing.as_potentials(node, packing.input(node))
    x = packing.laid_out(node, x, named(x.view, timeless(x.view)))
    if not is_after_last_step(x.value):
        x = packing.potentials(node, "KeepSteps", [x.value], x, facts=Facts.of(x.value))
    shape = node.outputs[0].shape.numpy()
    logits = packing.builder.op(
        "ReadLogits",
        [x.value, packing.constant(node.inputs[1])],
        shape,
        ir.DataType.FLOAT,
        name=node.name,
        domain=KERNEL,
        channels=x.sizes["C"],
        sizes=list(shape),
    )
    by_own_channels(Facts.of(node.outputs[0]), x).write(logits)
    packing.logits[node.outputs[0]] = logits
