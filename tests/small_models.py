"""Models of one node, or of a few lines of ONNX text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir

from hqc.dialect import OPSET, Op, attach_functions

_HEADER = f'<ir_version: 10, opset_import: ["" : {OPSET}, "ai.hqc" : 1, "ai.hqc.kernel" : 1]>'


def model_from(text: str) -> ir.Model:
    """A model from `name (inputs) => (outputs) <initializers> { nodes }`, with its functions."""
    proto = onnx.parser.parse_model(_HEADER + text)
    return attach_functions(ir.serde.deserialize_model(proto))


def _value(name: str, array: np.ndarray) -> ir.Value:
    dtype = ir.DataType.from_numpy(array.dtype)
    return ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(dtype))


def model_of(
    op: Op,
    inputs: Sequence[np.ndarray],
    attributes: Mapping[str, object],
    output: np.ndarray,
    constant_from: int | None = None,
) -> ir.Model:
    """A checked model of one node, which is called `layer`.

    Inputs from `constant_from` on are initializers; `output` has the type and shape of the output.
    """
    values = [_value(f"x{i}", array) for i, array in enumerate(inputs)]
    constants = [] if constant_from is None else values[constant_from:]
    for value, array in zip(values, inputs, strict=True):
        if value in constants:
            value.const_value = ir.tensor(array)
    node = ir.node(op.name, values, attributes, domain=op.domain, name="layer")
    result = _value("y", output)
    node.outputs[0].name, node.outputs[0].shape = "y", result.shape
    node.outputs[0].type = result.type
    graph = ir.Graph(
        [v for v in values if v not in constants],
        node.outputs,
        nodes=[node],
        initializers=constants,
        name="small",
        opset_imports={"": OPSET},
    )
    model = attach_functions(ir.Model(graph, ir_version=10))
    onnx.checker.check_model(ir.serde.serialize_model(model), full_check=True)
    return model
