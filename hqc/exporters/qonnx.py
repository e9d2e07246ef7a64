"""Quantizers as QONNX's Quant; neurons as loops, since QONNX's executor knows no functions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

from hqc.copies import copy_model
from hqc.dialect import DIALECT
from hqc.dialect.quant_uniform import along, code_range
from hqc.exporters.exporter import Wanted, exporter
from hqc.exporters.plain_neurons import write_neurons_plainly
from hqc.exporters.quantizers import Quantizer, check_floats, quantizers, stands_for
from hqc.frontend.save import save_model
from hqc.passes.graph import add_initializer, remove_unused

_DOMAIN = "qonnx.custom_op.general"


@exporter("qonnx", "a QONNX model")
def write_qonnx(model: ir.Model, path: Path, wanted: Wanted) -> None:
    """Write a model that gives the same numbers in QONNX's executor.

    Weights stay floats, as QONNX has them, and Quant says what they are rounded to.
    """
    check_floats(model)
    model = copy_model(model)
    for quantizer in quantizers(model.graph):
        node, old = quantizer.node, quantizer.node.outputs[0]
        made = _quant(quantizer)
        (value,) = made.outputs
        value.shape, value.type = old.shape, old.type
        model.graph.insert_before(node, made)
        old.replace_all_uses_with(value, replace_graph_outputs=True)
        model.graph.remove(node, safe=True)
        value.name = old.name
    write_neurons_plainly(model.graph)
    remove_unused(model)
    model.functions.clear()
    model.opset_imports.pop(DIALECT, None)
    model.opset_imports[_DOMAIN] = 1
    save_model(model, path)


def _quant(quantizer: Quantizer) -> ir.Node:
    node, graph, name = quantizer.node, quantizer.node.graph, quantizer.name
    x = node.inputs[0]
    if node.op_type == "QuantPow2":
        x = add_initializer(graph, quantizer.quantized, f"{name}.weight")
    signed = int(quantizer.low < 0)
    bits = next(b for b in range(2, 17) if quantizer.high <= code_range(b, signed)[1])
    narrow = int(bool(signed) and quantizer.low == -quantizer.high)
    if quantizer.scale.size > 1:
        scale = along(quantizer.axis, quantizer.scale, len(node.inputs[0].shape))
    else:
        scale = quantizer.scale.reshape(())
    given = [
        add_initializer(graph, np.array(array, np.float32), f"{name}.{what}")
        for array, what in ((scale, "scale"), (0, "zero"), (bits, "bits"))
    ]
    attributes = [
        ir.AttrInt64("signed", signed),
        ir.AttrInt64("narrow", narrow),
        ir.AttrString("rounding_mode", "ROUND"),
    ]
    made = ir.Node(_DOMAIN, "Quant", [x, *given], attributes=attributes, name=name)
    made.metadata_props.update(stands_for(node))
    return made
