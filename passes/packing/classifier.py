"""The firing rate's sum and the classifier on it."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from hqc.dialect import DIALECT, KERNEL
from hqc.dialect.facts import Facts
from hqc.passes.axes import axes, flatten, size_of
from hqc.passes.graph import constant, unsupported
from hqc.passes.packing.packed import Packed, Packing, packs


@packs("ReduceSum")
def pack_sum(node: ir.Node, packing: Packing) -> Packed:
    """A sum that what reads it will compute; a sum over parts of an axis is one over positions."""
    x = packing.tensor(node)
    reduced = {int(a) for a in constant(node.inputs[1])}
    over = tuple(x.view[a] for a in sorted(reduced))
    roots = {f.root for axis in over for f in axis}
    if "C" in roots or any(size_of(over, root) < x.sizes[root] for root in roots):
        x = packing.over_positions(node, x, reduced)
    keepdims = node.attributes["keepdims"].value
    view = tuple(
        () if i in reduced else axis
        for i, axis in enumerate(x.view)
        if keepdims or i not in reduced
    )
    summed = x.summed | {factor.root for a in reduced for factor in x.view[a]}
    return replace(x, view=view, summed=summed)


@packs("IntegerLinear", domain=DIALECT)
def pack_classifier(node: ir.Node, packing: Packing) -> None:
    """SumSpikes, over all of time and position, and IntegerLinear as it is: logits."""
    x = packing.tensor(node)
    channels = node.inputs[0].shape.numpy()[-1]
    if x.kind == "spikes" and x.view[-1] != axes(("C", channels))[0]:
        x = packing.over_positions(node, x)
    everywhere = {root for root in "TYX" if x.sizes[root] > 1}
    if (x.kind, x.summed, flatten(x.view)) != ("spikes", everywhere, axes(("C", channels))[0]):
        raise unsupported(
            node,
            f"it reads {x.kind} summed over [{' '.join(sorted(x.summed))}] of [T C Y X]; a "
            "classifier reads spikes summed over all of time and position",
            "take the mean of spikes over all of both before it",
        )
    counts = packing.builder.op(
        "SumSpikes",
        [x.value],
        (1, channels),
        ir.DataType.INT32,
        name=f"{node.name}/SumSpikes",
        domain=KERNEL,
        channels=channels,
    )
    Facts.of(node.inputs[0]).under("1 C").write(counts)
    kept = ("weight_bits", "weight_scheme", "shift", "wide")
    logits = packing.builder.op(
        "IntegerLinear",
        [counts, *(packing.constant(v) for v in node.inputs[1:])],
        node.outputs[0].shape.numpy(),
        ir.DataType.FLOAT,
        name=node.name,
        domain=DIALECT,
        **{name: node.attributes[name].value for name in kept if name in node.attributes},
    )
    Facts.of(node.outputs[0]).write(logits)
    packing.logits[node.outputs[0]] = logits
