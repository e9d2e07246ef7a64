"""An ONNX graph as a torch module: what peers that start from torch get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hqc.dialect import find_op
from hqc.dialect.quant_uniform import code_range
from hqc.errors import UserError

Apply = Callable[..., Tensor | Sequence[Tensor]]
"""An op on its inputs, tensors or, where it reads no tensor, constants."""

_TYPES = {ir.DataType.FLOAT: torch.float32, ir.DataType.BOOL: torch.bool}


class GraphModule(nn.Module):
    """Runs a graph node by node: its input to its output.

    `made` are ops that are modules of their own, such as neurons, by name of the node. Raises
    `UserError` for ops that it does not know.
    """

    def __init__(self, graph: ir.Graph, made: dict[str, nn.Module] | None = None) -> None:
        super().__init__()
        made = made or {}
        self._given, self._answer = graph.inputs[0].name, graph.outputs[0].name
        self._steps: list[tuple[Apply, list[str | None], list[str]]] = []
        constants = {v.name: v.const_value.numpy() for v in graph.initializers.values()}
        for index, node in enumerate(graph):
            inputs = [None if v is None else v.name for v in node.inputs]
            if node.name in made:
                apply: Apply = made[node.name]
                self.add_module(f"node{index}", made[node.name])
            else:
                apply, read = _op(node, constants)
                inputs = inputs[: len(inputs) - read]
            self._steps.append((apply, inputs, [v.name for v in node.outputs]))
        read_as_tensors = {name for _, inputs, _ in self._steps for name in inputs}
        self._buffer_of: dict[str, str] = {}
        for index, (name, array) in enumerate(constants.items()):
            if name in read_as_tensors:
                self._buffer_of[name] = f"constant{index}"
                self.register_buffer(f"constant{index}", torch.from_numpy(array.copy()))

    def forward(self, frames: Tensor) -> Tensor:
        """The graph's input to its output."""
        values: dict[str | None, Any] = {None: None, self._given: frames}
        values |= {name: getattr(self, buffer) for name, buffer in self._buffer_of.items()}
        for apply, inputs, outputs in self._steps:
            found = apply(*(values[name] for name in inputs))
            values |= zip(outputs, [found] if len(outputs) == 1 else found, strict=True)
        return values[self._answer]


def _op(node: ir.Node, constants: dict[str, np.ndarray]) -> tuple[Apply, int]:
    """A node as a function of tensors, and how many of its last inputs are read as constants."""
    said = {name: attribute.value for name, attribute in node.attributes.items()}
    given = [None if v is None else constants.get(v.name) for v in node.inputs]
    fixed = all(v is None or v.name in constants for v in node.inputs[1:])
    match node.op_type:
        case "Reshape" if fixed:
            return _reshape([int(size) for size in given[1]], said.get("allowzero", 0)), 1
        case "ReduceMean" | "ReduceSum" if fixed and len(given) == 2:
            reduce = torch.mean if node.op_type == "ReduceMean" else torch.sum
            axes, keep = given[1].tolist(), bool(said.get("keepdims", 1))
            return lambda x: reduce(x, axes, keep), 1
        case "Clip" if fixed:
            low, high = (None if b is None else float(b) for b in [*given[1:], None, None][:2])
            return lambda x: torch.clamp(x, low, high), len(given) - 1
        case "QuantUniform" if fixed and given[1].size == 1:
            return _quantizer(node, float(given[1])), 1
        case "Split" if "num_outputs" in said and len(given) == 1:
            parts, axis = said["num_outputs"], said.get("axis", 0)
            return lambda x: torch.chunk(x, parts, axis), 0
        case "Cast" if ir.DataType(said["to"]) in _TYPES:
            kind = _TYPES[ir.DataType(said["to"])]
            return lambda x: x.to(kind), 0
        case "Concat":
            return lambda *xs: torch.cat(xs, said["axis"]), 0
        case "Transpose":
            return lambda x: x.permute(said["perm"]), 0
        case "Conv" if _same_both_sides(said):
            return _convolution(said), 0
        case "MaxPool" if _same_both_sides(said) and not said.get("ceil_mode"):
            return _pool(said), 0
        case "Gemm" if not said.get("transA") and {said.get(k, 1.0) for k in _FACTORS} == {1.0}:
            if said.get("transB"):
                return F.linear, 0
            return lambda x, w, b=None: F.linear(x, w.T, b), 0
        case "BatchNormalization" if not said.get("training_mode"):
            eps = said.get("epsilon", 1e-5)
            return lambda x, w, b, mean, var: F.batch_norm(x, mean, var, w, b, eps=eps), 0
        case name if name in _PLAIN:
            return _PLAIN[name], 0
    raise UserError(
        f"node {node.name!r}: peers in torch do not know this {node.op_type}",
        hint="leave them out: --peers onnxruntime-fp32,onnxruntime-int8",
    )


_FACTORS = ("alpha", "beta")
_PLAIN: dict[str, Apply] = {
    "Add": torch.add,
    "Div": torch.div,
    "GreaterOrEqual": torch.ge,
    "MatMul": torch.matmul,
    "Mul": torch.mul,
    "Round": torch.round,
    "Sub": torch.sub,
    "Where": torch.where,
}


def _same_both_sides(said: dict) -> bool:
    pads = said.get("pads", [])
    half = len(pads) // 2
    return pads[:half] == pads[half:] and said.get("auto_pad", "NOTSET") == "NOTSET"


def _convolution(said: dict) -> Apply:
    axes = len(said["kernel_shape"])
    convolve = (torch.conv1d, torch.conv2d, torch.conv3d)[axes - 1]
    strides, dilations = said.get("strides", [1] * axes), said.get("dilations", [1] * axes)
    pads, groups = said.get("pads", [0] * axes)[:axes], said.get("group", 1)
    return lambda x, w, b=None: convolve(x, w, b, strides, pads, dilations, groups)


def _pool(said: dict) -> Apply:
    axes = len(said["kernel_shape"])
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[axes - 1]
    kernel, strides = said["kernel_shape"], said.get("strides", [1] * axes)
    pads, dilations = said.get("pads", [0] * axes)[:axes], said.get("dilations", [1] * axes)
    return lambda x: pool(x, kernel, strides, pads, dilations)


def _reshape(shape: list[int], allow_zero: int) -> Apply:
    if allow_zero or 0 not in shape:
        return lambda x: x.reshape(shape)
    return lambda x: x.reshape([size or x.shape[axis] for axis, size in enumerate(shape)])


def _quantizer(node: ir.Node, scale: float) -> Apply:
    """The quantizer of the input: one scale for all."""
    said = find_op(node).attributes(node)
    low, high = code_range(said["bits"], said["signed"], said["narrow"])
    return lambda x: torch.clamp(torch.round(x / scale), low, high) * scale
