"""A product of two activations that is no attention's."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from hqc.passes.axes import named
from hqc.passes.graph import unsupported
from hqc.passes.packing.packed import Packed, Packing, packs


@packs("MatMul")
def pack_product(node: ir.Node, packing: Packing) -> Packed:
    """MultiplySpikes or MultiplyPotentials; the transpose of the latter where b is potentials."""
    a, b = (packing.input(node, i) for i in (0, 1))
    kinds = (a.kind, b.kind)
    if "spikes" not in kinds or "frames" in kinds:
        raise unsupported(
            node, f"it multiplies {a.kind} and {b.kind}", "put neurons before one of the factors"
        )
    rank = len(a.view)
    rows, summed = node.inputs[0].shape.numpy()[-2:]
    columns = node.outputs[0].shape.numpy()[-1]
    view = named((*a.view[:-1], b.view[-1]), [rank - 1])
    a = packing.laid_out(node, a, named(a.view, [rank - 1]))
    b = packing.laid_out(node, b, named(b.view, [rank - 2]))
    if kinds[1] == "potentials":
        a, b, rows, columns = b, a, columns, rows
        view = named(view, [rank - 2])
    batch = a.sizes["Y"] * a.sizes["X"] // rows
    values = [
        packing.split(x, {**x.sizes, "Y": batch, "X": n}) for x, n in ((a, rows), (b, columns))
    ]
    sizes = {**a.sizes, "C": columns, "Y": batch, "X": rows}
    like = replace(a, view=view, sizes={**sizes, "Y": batch * rows, "X": 1})
    op_type = "MultiplyPotentials" if "potentials" in kinds else "MultiplySpikes"
    given = {"channels": summed, "columns": columns}
    made = packing.potentials(node, op_type, values, like, sizes, **given)
    return replace(made, value=packing.split(made, like.sizes), sizes=like.sizes)
