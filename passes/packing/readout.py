"""Potentials that leave the network."""

from __future__ import annotations

import onnx_ir as ir

from hqc.dialect import DIALECT, KERNEL
from hqc.dialect.facts import Facts
from hqc.dialect.layouts import is_after_last_step
from hqc.passes.axes import axes, flatten, spell
from hqc.passes.graph import unsupported
from hqc.passes.packing.packed import Packing, packs


@packs("ReadPotentials", domain=DIALECT)
def pack_readout(node: ir.Node, packing: Packing) -> None:
    """ReadLogits, of what time steps gave together or one by one."""
    x = packing.as_potentials(node, packing.input(node))
    whole = axes(*((root, x.sizes[root]) for root in "TC"))
    if flatten(x.view) != flatten(whole):
        raise unsupported(
            node,
            f"the network's output has the axes [{spell(x.view)}]",
            "end it in classes, or in classes of every time step: [T, C] or [1, C]",
        )
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
    Facts.of(node.outputs[0]).write(logits)
    packing.logits[node.outputs[0]] = logits
