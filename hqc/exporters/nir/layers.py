"""Convolutions and linear layers as nodes of NIR."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from hqc.exporters.nir.network import (
    Constant,
    Network,
    Stream,
    lie,
    rescaled,
    writes,
)
from hqc.passes.axes import axes
from hqc.passes.graph import integer, ints, unsupported


@writes("Conv")
def _conv(net: Network, node: ir.Node) -> None:
    """A convolution, or the sum of each window where its weights are ones."""
    import nir

    weight = _weight(net, node, 1)
    window = weight.array.shape[2:]
    if len(window) not in (1, 2):
        raise unsupported(node, f"its window has {len(window)} axes; NIR has 1 and 2")
    x, shape = net.image(node, len(window)), node.outputs[0].shape.numpy()[1:]
    auto = node.attributes.get("auto_pad")
    pads = ints(node, "pads", [0] * 2 * len(window))
    if (auto is not None and auto.value not in ("NOTSET", "VALID")) or pads[: len(window)] != pads[
        len(window) :
    ]:
        raise unsupported(
            node, "NIR has as many zeros before an axis as behind it", "pad both sides alike"
        )
    padding, groups = pads[: len(window)], integer(node, "group", 1)
    strides, dilations = (ints(node, key, [1] * len(window)) for key in ("strides", "dilations"))
    bias = _bias(net, node, x, shape[0])
    depthwise = groups == weight.array.shape[0] == x.shape[0] and len(window) == 2
    plain = depthwise and set(dilations) == {1} and not bias.any()
    if plain and (weight.array == 1).all():
        made: Any = nir.SumPool2d(*(np.array(n) for n in (window, strides, padding)))
        net.give(node, net.emit(node.name, made, x, shape))
        return
    array, metadata = rescaled(weight, np.full(shape[0], x.factor))
    settings = {"weight": array, "groups": groups, "bias": bias, "metadata": metadata}
    if len(window) == 1:
        (stride,), (pad,), (dilation,) = strides, padding, dilations
        sizes: dict[str, Any] = {"stride": stride, "padding": pad, "dilation": dilation}
        made = nir.Conv1d(input_shape=x.shape[1], **sizes, **settings)
    else:
        sizes = {"stride": tuple(strides), "padding": tuple(padding), "dilation": tuple(dilations)}
        made = nir.Conv2d(input_shape=x.shape[1:], **sizes, **settings)
    net.give(node, net.emit(node.name, made, replace(x, factor=1.0), shape))


@writes("Gemm")
def _gemm(net: Network, node: ir.Node) -> None:
    weight = _weight(net, node, 1)
    factors = [node.attributes[k].value for k in ("alpha", "beta") if k in node.attributes]
    if integer(node, "transA", 0) or any(f != 1 for f in factors):
        raise unsupported(node, "its alpha and beta are not 1, or its input is transposed")
    _linear(net, node, weight if integer(node, "transB", 0) else _turned(weight))


@writes("MatMul")
def _matmul(net: Network, node: ir.Node) -> None:
    _linear(net, node, _turned(_weight(net, node, 1)))


def _linear(net: Network, node: ir.Node, weight: Constant) -> None:
    """A product with [out, in] of all elements of a time step."""
    import nir

    x, outputs = net.read(node), weight.array.shape[0]
    (row,) = lie((math.prod(x.shape),))
    steps = axes(("T", net.steps) if x.time else None)
    given = [axis for axis in x.view[:-1] if axis]
    if weight.array.ndim != 2 or x.view[-1] != row or given != [a for a in steps if a]:
        raise unsupported(
            node, "it does not read all elements of a time step", "NIR's products do, flattened"
        )
    x = net.flat(node, x)
    bias = _bias(net, node, x, outputs) if node.op_type == "Gemm" else np.zeros(outputs, np.float32)
    array, metadata = rescaled(weight, np.full(outputs, x.factor))
    if bias.any():
        made: Any = nir.Affine(array, bias, metadata=metadata)
    else:
        made = nir.Linear(array, metadata=metadata)
    view = (*x.view[:-1], *lie((outputs,)))
    net.give(node, net.emit(node.name, made, replace(x, factor=1.0), (outputs,), view))


def _weight(net: Network, node: ir.Node, index: int) -> Constant:
    found = net.known(node.inputs[index])
    if found is None:
        raise unsupported(
            node, "its weights are computed, or multiply across time steps, which NIR has not"
        )
    return found


def _turned(weight: Constant) -> Constant:
    """Weights [in, out] as [out, in]."""
    if weight.array.ndim != 2 or weight.quantizer is None:
        return Constant(weight.array.T)
    op, scale, attributes = weight.quantizer
    axis = 1 - attributes["axis"] % 2 if scale.size > 1 else 0
    return Constant(weight.array.T, (op, scale, {**attributes, "axis": axis}))


def _bias(net: Network, node: ir.Node, x: Stream, outputs: int) -> np.ndarray:
    """A bias a time step, float32 [outputs]."""
    value = node.inputs[2] if len(node.inputs) > 2 else None
    if value is None:
        return np.zeros(outputs, np.float32)
    found = net.known(value)
    if found is None or found.array.size not in (1, outputs):
        raise unsupported(node, "its bias is computed, or one of several rows")
    bias = np.broadcast_to(found.array.reshape(-1), outputs)
    return (bias / (1 if x.time else net.steps)).astype(np.float32)
