"""Quantizers of weights become codes; the quantizer of the input becomes the network's entry."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT, find_op
from hqc.dialect.quant_pow2 import magnitudes, pow2_codes
from hqc.dialect.quant_uniform import along, code_range, uniform_codes
from hqc.passes.axes import axes
from hqc.passes.graph import constant, unsupported
from hqc.passes.integer_rules.quantity import Lowering, Quantity, Weights, described
from hqc.passes.integer_rules.registry import rule

_WIDEST = 8


def _constants(node: ir.Node) -> tuple[np.ndarray, np.ndarray]:
    weights, scale = (constant(v) for v in node.inputs)
    if weights is None or scale is None:
        raise unsupported(
            node,
            "it quantizes an activation inside the network",
            "activations between layers must be spikes; quantize weights and the input only",
        )
    if not np.all(scale > 0):
        raise unsupported(
            node,
            f"its scale is {scale.min():g}, must be above 0",
            "was training stopped too early?",
        )
    return weights, scale


@rule("QuantUniform", domain=DIALECT)
def lower_uniform(node: ir.Node, lowering: Lowering) -> Quantity | Weights:
    """Weights -> codes; the network's input -> QuantizeFrames."""
    attributes = find_op(node).attributes(node)
    bits = attributes["bits"]
    if node.inputs[0].is_graph_input():
        return _lower_input(node, lowering, attributes)
    weights, scale = _constants(node)
    codes = uniform_codes(weights, scale, **attributes)
    return _weights(node, codes, scale.astype(np.float64), bits, "uniform")


def _weights(
    node: ir.Node, codes: np.ndarray, scale: np.ndarray, bits: int, scheme: str
) -> Weights:
    """The codes as weights; the float network has the quantizer's float32 in their place."""
    arrays = [constant(v) for v in node.inputs]
    attributes = find_op(node).attributes(node)
    axis = attributes["axis"] % codes.ndim
    quantized = find_op(node).reference(*arrays, **attributes).astype(np.float64)
    rounding = np.abs(quantized - codes * along(axis, scale, codes.ndim))
    return Weights(codes, scale, axis, bits, scheme, rounding)


def _lower_input(node: ir.Node, lowering: Lowering, attributes: dict) -> Quantity:
    scale = constant(node.inputs[1])
    if attributes["bits"] > _WIDEST:
        raise unsupported(
            node, f"it quantizes the frames to {attributes['bits']} bits", "use 8 or fewer"
        )
    if scale is None or scale.size != 1 or not scale.item() > 0:
        found = "computed" if scale is None else f"{scale.reshape(-1).tolist()}"
        raise unsupported(node, f"the scale of the frames is {found}, must be one positive number")
    frames = lowering.builder.inputs[node.inputs[0].graph.inputs.index(node.inputs[0])]
    shape = frames.shape.numpy()
    if len(shape) != 5 or shape[1] != 1:
        raise unsupported(
            node, f"frames of shape {list(shape)}", "give frames [T, 1, C, H, W], one recording"
        )
    qmin, qmax = code_range(attributes["bits"], attributes["signed"], attributes["narrow"])
    byte = ir.DataType.INT8 if attributes["signed"] else ir.DataType.UINT8
    value = lowering.builder.op(
        "QuantizeFrames",
        [frames, lowering.builder.initializer(scale.reshape(1), f"{node.name}.scale")],
        shape,
        byte,
        name=node.name,
        domain=DIALECT,
        qmin=qmin,
        qmax=qmax,
        to=byte.value,
    )
    time, _, *image = zip("TNCYX", shape, strict=True)
    view = axes(time, None, *image)
    zero, unit = np.float64(0), np.float64(scale.item())
    codes = np.arange(qmin, qmax + 1)
    rounding = np.abs(codes * unit - codes.astype(np.float32) * np.float32(unit)).max()
    low, high = np.int64(qmin), np.int64(qmax)
    return described(Quantity(value, "frames", view, unit, zero, low, high, rounding))


@rule("QuantPow2", domain=DIALECT)
def lower_pow2(node: ir.Node, lowering: Lowering) -> Weights:
    """Weights -> signed shifts; the smallest magnitude moves into the scale."""
    attributes = find_op(node).attributes(node)
    weights, scale = _constants(node)
    codes = pow2_codes(weights, scale, **attributes)
    unit = 2.0 ** (1 - magnitudes(attributes["bits"]))
    return _weights(node, codes, scale.astype(np.float64) * unit, attributes["bits"], "pow2")
