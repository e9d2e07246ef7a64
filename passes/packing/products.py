"""A product of two activations that is no attention's."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from hqc.passes.axes import named
from hqc.passes.graph import unsupported
from hqc.passes.packing.packed import Packed, Packing, packs


@packs("MatMul")
def pack_product(node: ir.Node, packing: Packing) -> Packed:
    """MultiplySpikes, of rows and columns whose channels are what the product sums over."""
    a, b = (packing.input(node, i) for i in (0, 1))
    if {a.kind, b.kind} != {"spikes"}:
        raise unsupported(
            node,
            f"it multiplies {a.kind} and {b.kind}; only spikes, or sums of spikes, are multiplied",
            "put neurons between products, or write attention as (q @ k.transpose(-2, -1)) @ v "
            "with as many tokens in k as in q, and channels in v as in q",
        )
    rank = len(a.view)
    shape, columns = node.inputs[0].shape.numpy(), node.outputs[0].shape.numpy()[-1]
    a = packing.laid_out(node, a, named(a.view, [rank - 1]))
    b = packing.laid_out(node, b, named(b.view, [rank - 2]))
    batch = a.sizes["Y"] * a.sizes["X"] // shape[-2]
    values = [
        packing.split(x, {**x.sizes, "Y": batch, "X": n}) for x, n in ((a, shape[-2]), (b, columns))
    ]
    sizes = {**a.sizes, "C": columns, "Y": batch, "X": shape[-2]}
    view = named((*a.view[:-1], b.view[-1]), [rank - 1])
    like = replace(a, view=view, sizes={**sizes, "Y": batch * shape[-2], "X": 1})
    given = {"channels": a.sizes["C"], "columns": columns}
    made = packing.potentials(node, "MultiplySpikes", values, like, sizes, **given)
    return replace(made, value=packing.split(made, like.sizes), sizes=like.sizes)
