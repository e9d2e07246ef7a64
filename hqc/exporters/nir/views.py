"""Views, and quantizers, which are no nodes of NIR."""

from __future__ import annotations

import onnx_ir as ir

from hqc.dialect import DIALECT, find_op
from hqc.exporters.nir.network import (
    Constant,
    Network,
    seen,
    writes,
)
from hqc.importers.nir.conventions import QUANTIZER, described
from hqc.passes.axes import reshape
from hqc.passes.graph import constant, ints, unsupported


@writes("QuantUniform", "QuantPow2", domain=DIALECT)
def _quantizer(net: Network, node: ir.Node) -> None:
    """Of constants, or of the frames."""
    op, scale = find_op(node), constant(node.inputs[1])
    if scale is None:
        raise unsupported(node, "its scale is computed")
    attributes = {k: v for k, v in op.attributes(node).items() if isinstance(v, int)}
    known = net.known(node.inputs[0])
    if known is not None:
        array = op.reference(known.array, scale, **attributes)
        net.constants[node.outputs[0]] = Constant(array, (op, scale.reshape(-1), attributes))
        return
    x = net.read(node)
    if x.sources != (net.input,) or scale.size != 1:
        raise unsupported(node, "NIR has no quantizers between layers")
    said = described(op, scale.reshape(()), {**attributes, "axis": 0})
    net.nodes[net.input].metadata[QUANTIZER] = said
    net.give(node, x)


@writes("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")
def _view(net: Network, node: ir.Node) -> None:
    x = net.read(node)
    view = reshape(x.view, node.outputs[0].shape.numpy())
    if view is None:
        raise unsupported(node, "its axes cannot be followed")
    net.give(node, seen(node, x, view))


@writes("Transpose")
def _transpose(net: Network, node: ir.Node) -> None:
    x = net.read(node)
    order = ints(node, "perm", range(len(x.view))[::-1])
    net.give(node, seen(node, x, tuple(x.view[i] for i in order)))
