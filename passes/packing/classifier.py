"""The firing rate's sum and the classifier on it."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from hqc.dialect import DIALECT, KERNEL
from hqc.passes.axes import axes, flatten
from hqc.passes.graph import constant, unsupported
from hqc.passes.packing.packed import Packed, Packing, packs


@packs("ReduceSum")
def pack_sum(node: ir.Node, packing: Packing) -> Packed:
    """SumSpikes where the sum is over all of time and position; else a sum not yet computed."""
    x = packing.tensor(node)
    reduced = {int(a) for a in constant(node.inputs[1])}
    keepdims = node.attributes["keepdims"].value
    view = tuple(
        () if i in reduced else axis
        for i, axis in enumerate(x.view)
        if keepdims or i not in reduced
    )
    summed = x.summed | {factor.root for a in reduced for factor in x.view[a]}
    if x.kind == "spikes" and summed == {root for root in "TYX" if x.sizes[root] > 1}:
        return _counts(node, packing, replace(x, view=view))
    return replace(x, view=view, summed=summed)


def _counts(node: ir.Node, packing: Packing, x: Packed) -> Packed:
    channels = x.sizes["C"]
    if flatten(x.view) != axes(("C", channels))[0]:
        raise unsupported(node, "it does not sum over all of time and position")
    value = packing.builder.op(
        "SumSpikes",
        [x.value],
        (1, channels),
        ir.DataType.INT32,
        name=node.name,
        domain=KERNEL,
        channels=channels,
    )
    return Packed(value, axes(None, ("C", channels)), {**x.sizes, "T": 1, "Y": 1, "X": 1})


@packs("IntegerLinear", domain=DIALECT)
def pack_classifier(node: ir.Node, packing: Packing) -> None:
    """IntegerLinear as it is: logits."""
    x = packing.input(node)
    kept = ("weight_bits", "weight_scheme", "wide")
    packing.logits[node.outputs[0]] = packing.builder.op(
        "IntegerLinear",
        [x.value, *(packing.constant(v) for v in node.inputs[1:])],
        node.outputs[0].shape.numpy(),
        ir.DataType.FLOAT,
        name=node.name,
        domain=DIALECT,
        **{name: node.attributes[name].value for name in kept if name in node.attributes},
    )
