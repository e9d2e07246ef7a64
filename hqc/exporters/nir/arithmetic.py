"""Sums, factors and BatchNorm: edges, scales, or a part of the layer before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from hqc.exporters.nir.network import (
    Constant,
    Network,
    Stream,
    read_once,
    rescaled,
    writes,
)
from hqc.importers.nir.conventions import QUANTIZER, quantizer_of
from hqc.passes.graph import unsupported
from hqc.passes.integer_rules.arithmetic import batch_norm


@writes("Add")
def _add(net: Network, node: ir.Node) -> None:
    """A sum of two streams, which edges are; or of one and constants, a layer's bias."""
    import nir

    known = [net.known(value) for value in node.inputs]
    for index, found in enumerate(known):
        if found is not None:
            x = net.read(node, 1 - index)
            _shift(net, node, x, np.ones(x.shape), net.per_element(node, x, found.array), 1 - index)
            return
    a, b = net.read(node, 0), net.read(node, 1)
    if a.shape != b.shape:
        a, b = net.flat(node, a), net.flat(node, b)
    alike = (a.shape, a.view, a.time, a.factor) == (b.shape, b.view, b.time, b.factor)
    if not alike or node.inputs[0].shape != node.inputs[1].shape:
        raise unsupported(node, "what it adds up is not of one shape, or of different means")
    if set(a.sources) & set(b.sources):  # an edge leads there once
        one = nir.Scale(np.ones(b.shape, np.float32))
        b = net.emit(f"{node.name}.again", one, b, b.shape, b.view)
    net.give(node, replace(a, sources=(*a.sources, *b.sources)))


@writes("Mul", "Div")
def _mul(net: Network, node: ir.Node) -> None:
    """A factor for each element."""
    known = [net.known(value) for value in node.inputs]
    indices = [i for i, found in enumerate(known) if found is not None]
    if len(indices) != 1 or (node.op_type == "Div" and indices != [1]):
        raise unsupported(node, "NIR multiplies by constants only")
    x = net.read(node, 1 - indices[0])
    factor = net.per_element(node, x, known[indices[0]].array)
    scale = 1 / factor if node.op_type == "Div" else factor
    _shift(net, node, x, scale, np.zeros(x.shape), 1 - indices[0])


@writes("BatchNormalization")
def _norm(net: Network, node: ir.Node) -> None:
    x, (scale, shift) = net.read(node), batch_norm(node)
    shape = [-1] + [1] * (len(node.inputs[0].shape) - 2)
    factor, offset = (net.per_element(node, x, a.reshape(shape)) for a in (scale, shift))
    _shift(net, node, x, factor, offset, 0)


def _shift(
    net: Network, node: ir.Node, x: Stream, scale: np.ndarray, shift: np.ndarray, index: int
) -> None:
    """scale * x + shift, by element: into the layer before, if nothing else reads that."""
    import nir

    made = net.nodes[x.sources[0]]
    shift = shift / (x.factor * (1 if x.time else net.steps))
    layers = (nir.Affine, nir.Linear, nir.Conv1d, nir.Conv2d)
    channels = [a.reshape(len(a), -1) for a in (scale, shift)]
    alone = len(x.sources) == 1 and x.alone and read_once(node.inputs[index])
    if alone and isinstance(made, layers) and all((c == c[:, :1]).all() for c in channels):
        factor, offset = (c[:, 0] for c in channels)
        source = Constant(made.weight, quantizer_of(made.metadata.get(QUANTIZER)))
        array, metadata = rescaled(source, factor)
        bias = getattr(made, "bias", 0) * factor + offset
        if isinstance(made, nir.Linear):
            made = nir.Affine(array, np.broadcast_to(bias, factor.shape).astype(np.float32))
        else:
            made.weight, made.bias = array, bias.astype(np.float32)
        made.metadata = metadata
        net.nodes[x.sources[0]] = made
        net.give(node, x)
    elif not shift.any():
        made = nir.Scale(scale.astype(np.float32))
        net.give(node, net.emit(node.name, made, x, x.shape, x.view))
    else:
        raise unsupported(
            node, "it adds to what is no layer's output, or is read elsewhere, too",
            "NIR adds constants as biases of layers only",
        )  # fmt: skip
