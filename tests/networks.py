"""A builder of small dialect models, node by node, for tests of what the compiler makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from hqc.dialect import DIALECT, OPSET, attach_functions


class Network:
    """A model in the making: frames [T, 1, C, H, W] to logits [1, classes]."""

    def __init__(self, frames: Sequence[int], classes: int = 4) -> None:
        self.frames, self.classes = tuple(frames), classes
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, array: object, dtype: type = np.float32) -> str:
        """An initializer."""
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def op(self, op_type: str, *inputs: str, domain: str = "", out: str = "", **attributes) -> str:
        """A node of one output; `name` among the attributes is the node's."""
        out = out or f"value_{len(self.nodes)}"
        name = attributes.pop("name", f"{op_type}_{len(self.nodes)}")
        made = helper.make_node(op_type, inputs, [out], name=name, domain=domain, **attributes)
        self.nodes.append(made)
        return out

    def quantized(self, weights: object, bits: int = 8, scale: float = 0, **attributes) -> str:
        """Weights through a QuantUniform, narrow unless it is said otherwise."""
        weights = np.asarray(weights, np.float32)
        scale = scale or float(np.abs(weights).max()) / (2 ** (bits - 1) - 1)
        inputs = self.constant(weights), self.constant([scale])
        attributes = {"narrow": int(attributes.get("signed", 1)), **attributes}
        return self.op("QuantUniform", *inputs, domain=DIALECT, bits=bits, **attributes)

    def input(self, scale: float = 1.0, bits: int = 8) -> str:
        """The frames as unsigned counts, an image [T, C, H, W]."""
        quantized = self.op(
            "QuantUniform", "frames", self.constant([scale]), domain=DIALECT, bits=bits, signed=0
        )
        time_steps, _, *image = self.frames
        return self.view(quantized, (time_steps, *image))

    def view(self, x: str, shape: Sequence[int], **attributes) -> str:
        """A Reshape."""
        return self.op("Reshape", x, self.constant(shape, np.int64), **attributes)

    def lif(self, x: str, **attributes) -> str:
        """Neurons."""
        return self.op("LIF", x, domain=DIALECT, **attributes)

    def mean(self, x: str, axes: Sequence[int], keepdims: int = 0, **attributes) -> str:
        """A mean over some axes."""
        axes = self.constant(axes, np.int64)
        return self.op("ReduceMean", x, axes, keepdims=keepdims, **attributes)

    def head(self, x: str, channels: int, bias: object = None, **quantizer) -> None:
        """The classes of the mean of spikes over all but the channels."""
        weights = np.random.default_rng(5).normal(size=(self.classes, channels))
        extra = [] if bias is None else [self.constant(bias)]
        quantized = self.quantized(weights, **quantizer)
        rates = self.view(x, (1, channels))
        self.op("Gemm", rates, quantized, *extra, transB=1, out="logits", name="head")

    def save(self, path: Path) -> Path:
        """Write the model, with the functions of its ops."""
        graph = helper.make_graph(
            self.nodes,
            "small",
            [helper.make_tensor_value_info("frames", TensorProto.FLOAT, self.frames)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (1, self.classes))],
            self.initializers,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DIALECT, 1)]
        proto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        model = attach_functions(ir.serde.deserialize_model(proto))
        onnx.save(ir.serde.serialize_model(model), path)
        return path
