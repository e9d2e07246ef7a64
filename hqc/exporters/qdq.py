"""Quantizers as QuantizeLinear and DequantizeLinear.

Weights are integers of 4, 8 or 16 bits in the file. Neurons stay functions of the model, whose
bodies are in it, so that any runtime of standard ONNX runs it.

onnxruntime 1.32 replaces a DequantizeLinear before a MatMul or a Gemm by a kernel that rounds
activations to 8 bits. What these read is therefore dequantized with a leading axis of size 1, and
squeezed, which it leaves alone (measured: no bit differs, with its optimizations or without).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

from hqc.copies import copy_model
from hqc.dialect import attach_functions
from hqc.exporters.exporter import Wanted, exporter
from hqc.exporters.quantizers import Quantizer, check_floats, quantizers, stands_for
from hqc.frontend.save import save_model
from hqc.passes.graph import add_initializer, remove_unused, unsupported

_TYPES = {
    (-8, 7): ir.DataType.INT4,
    (0, 15): ir.DataType.UINT4,
    (-128, 127): ir.DataType.INT8,
    (0, 255): ir.DataType.UINT8,
    (-(2**15), 2**15 - 1): ir.DataType.INT16,
    (0, 2**16 - 1): ir.DataType.UINT16,
}
"""Types of codes that ONNX has at the dialect's version of it, by the codes that they hold."""

_CLIPPED = (ir.DataType.INT8, ir.DataType.UINT8)
"""Those of which onnxruntime has a Clip."""


@exporter("qdq", "an ONNX model of QuantizeLinear and DequantizeLinear")
def write_qdq(model: ir.Model, path: Path, wanted: Wanted) -> None:
    """Write a model that gives the same numbers in stock onnxruntime.

    Raises `UnsupportedModelError` for quantizers of activations whose codes no type clips.
    """
    check_floats(model)
    model = copy_model(model)
    for quantizer in quantizers(model.graph):
        made = _weights(quantizer) if quantizer.codes is not None else _activation(quantizer)
        old = quantizer.node.outputs[0]
        made[-1].outputs[0].shape, made[-1].outputs[0].type = old.shape, old.type
        model.graph.insert_before(quantizer.node, made)
        old.replace_all_uses_with(made[-1].outputs[0], replace_graph_outputs=True)
        model.graph.remove(quantizer.node, safe=True)
        made[-1].outputs[0].name = old.name
    remove_unused(model)
    save_model(attach_functions(model), path)


def _type(quantizer: Quantizer, types: tuple[ir.DataType, ...] = ()) -> tuple[int, int]:
    """The ends of the smallest type that holds the codes, of some or of all types."""
    fitting = (
        ends
        for ends, kind in _TYPES.items()
        if ends[0] <= quantizer.low and quantizer.high <= ends[1] and (not types or kind in types)
    )
    return next(fitting, (0, 0))


def _weights(quantizer: Quantizer) -> list[ir.Node]:
    """Codes in the file, and what dequantizes them."""
    kind = _TYPES[_type(quantizer)]
    name, codes, axis = quantizer.name, quantizer.codes, quantizer.axis
    is_read_by_conv = all(u.node.op_type == "Conv" for u in quantizer.node.outputs[0].uses())
    if not is_read_by_conv:
        codes, axis = codes[None], axis + 1
    stored = add_initializer(quantizer.node.graph, codes.astype(kind.numpy()), f"{name}.codes")
    nodes = [_dequantize(quantizer, stored, axis)]
    if not is_read_by_conv:
        out = nodes[0].outputs[0]
        out.name, out.shape = f"{name}.dequantized", ir.Shape(codes.shape)
        out.type = ir.TensorType(ir.DataType.FLOAT)
        axes = add_initializer(quantizer.node.graph, np.array([0], np.int64), f"{name}.axes")
        nodes.append(ir.node("Squeeze", [out, axes], name=f"{name}/Squeeze"))
    return nodes


def _activation(quantizer: Quantizer) -> list[ir.Node]:
    """QuantizeLinear, a Clip where the codes end elsewhere than their type's, DequantizeLinear."""
    node, graph, name = quantizer.node, quantizer.node.graph, quantizer.name
    ends = quantizer.low, quantizer.high
    is_clipped = ends not in _TYPES
    if is_clipped:
        ends = _type(quantizer, _CLIPPED)
    if ends == (0, 0):
        raise unsupported(
            node,
            f"it quantizes an activation to codes from {quantizer.low} to {quantizer.high}",
            "QDQ can say codes of 2 to 8 and of 16 bits",
        )
    kind = _TYPES[ends]

    def number(value: int, what: str) -> ir.Value:
        array = np.full(() if what != "zero" else _scale(quantizer).shape, value)
        return add_initializer(graph, array.astype(kind.numpy()), f"{name}.{what}")

    scale = add_initializer(graph, _scale(quantizer), f"{name}.scale")
    given = [node.inputs[0], scale, number(0, "zero")]
    axis = {"axis": quantizer.axis} if quantizer.scale.size > 1 else {}
    nodes = [ir.node("QuantizeLinear", given, axis, name=f"{name}/QuantizeLinear")]
    if is_clipped:
        limits = number(quantizer.low, "least"), number(quantizer.high, "greatest")
        clip = ir.node("Clip", [nodes[0].outputs[0], *limits], name=f"{name}/Clip")
        nodes.append(clip)
    for made in nodes:
        out = made.outputs[0]
        out.name, out.shape, out.type = made.name, node.inputs[0].shape, ir.TensorType(kind)
    # Given a zero point of int8 here, onnxruntime 1.32 moves the pair behind views and then fails.
    back = ir.node("DequantizeLinear", [nodes[-1].outputs[0], scale], axis, name=name)
    back.metadata_props.update(stands_for(node))
    return [*nodes, back]


def _scale(quantizer: Quantizer) -> np.ndarray:
    return quantizer.scale.reshape(() if quantizer.scale.size == 1 else -1)


def _dequantize(quantizer: Quantizer, codes: ir.Value, axis: int) -> ir.Node:
    graph, name = quantizer.node.graph, quantizer.name
    scale = add_initializer(graph, _scale(quantizer), f"{name}.scale")
    attributes = {"axis": axis} if quantizer.scale.size > 1 else {}
    node = ir.node("DequantizeLinear", [codes, scale], attributes, name=name)
    node.metadata_props.update(stands_for(quantizer.node))
    return node
