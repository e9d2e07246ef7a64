"""Potentials that leave the network."""

from __future__ import annotations

import onnx_ir as ir

from hqc.dialect import DIALECT, KERNEL
from hqc.dialect.facts import Facts
from hqc.dialect.layouts import is_after_last_step
from hqc.passes.axes import axes, flatten, named, size_of, spell, timeless
from hqc.passes.graph import unsupported
from hqc.passes.packing.packed import Packing, by_own_channels, packs


@packs("ReadPotentials", domain=DIALECT)
def pack_readout(node: ir.Node, packing: Packing) -> None:
    """ReadLogits, of what time steps gave together or one by one."""
    x = packing.as_potentials(node, packing.input(node))
    view = named(x.view, timeless(x.view))
    if view is None or flatten(view) != flatten(
        axes(("T", x.sizes["T"]), ("C", size_of(view, "C")))
    ):
        raise unsupported(
            node,
            f"the network's output has the axes [{spell(x.view)}]",
            "put the time steps first in the output, or take their mean, sum or last",
        )
    x = packing.laid_out(node, x, view)
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
