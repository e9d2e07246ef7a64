"""A model in the making, node by node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hqc.dialect import DIALECT, OPSET
from hqc.importers.nir.conventions import QUANTIZER, quantizer_of

if TYPE_CHECKING:
    from hqc.importers.nir.network import Node

FRAMES, LOGITS = "frames", "logits"

LONGEST = 128
"""Time steps up to which a linear filter over time is a product with a matrix of them."""


@dataclass(frozen=True)
class Tensor:
    """A value over time, [T, *shape]."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Filtered(Tensor):
    """A value that is still to be filtered over time: matrix [T, T] @ value + offset.

    `by` is the node that filters it, `label` the name of what that becomes.
    """

    matrix: np.ndarray
    offset: np.ndarray
    by: Node
    label: str


Lower = Callable[["Builder", "Node", Tensor | None], Tensor]
"""Adds what a node computes of what it reads. Raises `UserError`, naming the node."""

_LOWER: dict[str, Lower] = {}


def lowers(*kinds: str) -> Callable[[Lower], Lower]:
    """Register the decorated function for nodes of these types."""

    def register(function: Lower) -> Lower:
        _LOWER.update(dict.fromkeys(kinds, function))
        return function

    return register


def kinds() -> list[str]:
    """The types of nodes that are lowered."""
    return sorted(_LOWER)


class Builder:
    """Nodes and weights of a model of `time_steps` steps of `dt` seconds.

    `subtracts` says that neurons are lowered by their threshold, not set to `v_reset`.
    """

    def __init__(self, path: Path, time_steps: int, dt: float, subtracts: bool) -> None:
        self.path, self.time_steps, self.dt, self.subtracts = path, time_steps, dt, subtracts
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._frames: tuple[int, ...] = ()
        self._classes = 0

    def lowered(self, node: Node, x: Tensor | None) -> Tensor:
        """What a node computes. Raises `UnsupportedModelError` for a type that is not lowered."""
        if node.kind not in _LOWER:
            raise node.refused("it is not imported", f"what is: {', '.join(kinds())}")
        return _LOWER[node.kind](self, node, x)

    def constant(self, array: object, name: str, dtype: type = np.float32) -> str:
        """An initializer."""
        self._initializers.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def op(
        self,
        op_type: str,
        inputs: Sequence[str],
        shape: Sequence[int],
        name: str,
        domain: str = "",
        **attributes: Any,
    ) -> Tensor:
        """A node of one output [T, *shape]."""
        made = helper.make_node(op_type, inputs, [f"{name}:out"], name, domain=domain, **attributes)
        self._nodes.append(made)
        return Tensor(made.output[0], tuple(shape))

    def weights(self, node: Node, array: np.ndarray) -> str:
        """A layer's weights, with their quantizer where the node's metadata say one that fits."""
        name = self.constant(array, f"{node.name}.weight")
        found = quantizer_of(node.said.metadata.get(QUANTIZER))
        if found is None:
            return name
        op, scale, attributes = found
        if scale.size not in (1, array.shape[attributes["axis"]]):
            return name
        array = array.astype(np.float32)
        if not np.array_equal(op.reference(array, scale, **attributes), array):
            return name  # another tool changed the weights
        return self.quantized(op.name, name, scale, f"{node.name}.weight/{op.name}", attributes)

    def quantized(
        self, op_type: str, value: str, scale: object, name: str, attributes: dict
    ) -> str:
        """A value through a quantizer."""
        inputs = [value, self.constant(scale, f"{name}.scale")]
        return self.op(op_type, inputs, (), name, DIALECT, **attributes).name

    def scaled(self, x: Tensor, factor: np.ndarray, name: str) -> Tensor:
        """The value times a number for each neuron."""
        if np.all(factor == 1):
            return x
        shown = self.constant(compact(factor), f"{name}.factor")
        return self.op("Mul", [x.name, shown], x.shape, name)

    def shifted(self, x: Tensor, offset: np.ndarray, name: str) -> Tensor:
        """The value plus a number for each neuron."""
        if not np.any(offset):
            return x
        shown = self.constant(compact(offset), f"{name}.offset")
        return self.op("Add", [x.name, shown], x.shape, name)

    def viewed(self, x: Tensor, shape: Sequence[int], name: str) -> Tensor:
        """The value in another shape, at each time step."""
        if tuple(shape) == x.shape:
            return x
        target = self.constant((self.time_steps, *shape), f"{name}.shape", np.int64)
        return self.op("Reshape", [x.name, target], shape, name)

    def settled(self, x: Tensor) -> Tensor:
        """The value when it is filtered: a product with a matrix of steps by steps."""
        if not isinstance(x, Filtered):
            return x
        if self.time_steps > LONGEST:
            raise x.by.refused(
                f"its output over {self.time_steps} time steps is a product with "
                f"{self.time_steps} x {self.time_steps} numbers",
                f"at most {LONGEST} time steps, or lead it to the Output alone",
            )
        name = x.label
        flat = self.viewed(Tensor(x.name, x.shape), (int(np.prod(x.shape)),), f"{name}/rows")
        matrix = self.constant(x.matrix, f"{name}.filter")
        made = self.op("MatMul", [matrix, flat.name], flat.shape, name)
        made = self.viewed(made, x.shape, f"{name}/shape")
        return self.shifted(made, x.offset, f"{name}/offset")

    def begin(self, name: str, shape: Sequence[int], quantizer: object) -> Tensor:
        """The frames, in the shape [T, *shape]."""
        self._frames = (self.time_steps, 1, *shape)
        value, found = FRAMES, quantizer_of(quantizer)
        if found is not None and found[0].name == "QuantUniform" and found[1].size == 1:
            op, scale, attributes = found
            value = self.quantized(op.name, value, scale, f"{FRAMES}/{op.name}", attributes)
        target = self.constant((self.time_steps, *shape), f"{name}.shape", np.int64)
        return self.op("Reshape", [value, target], shape, name)

    def end(self, x: Tensor, name: str) -> Tensor:
        """The logits: a value summed over time."""
        steps, offset = self.time_steps, np.zeros(x.shape)
        if isinstance(x, Filtered):
            weight = x.matrix.sum(0).reshape(-1, *[1] * len(x.shape))
            offset = x.offset * steps
            shown = self.constant(weight, f"{x.label}.filter")
            x = self.op("Mul", [x.name, shown], x.shape, x.label)
        self._classes = int(np.prod(x.shape))
        flat = self.viewed(x, (self._classes,), f"{name}/classes")
        axes = self.constant([0], f"{name}.axes", np.int64)
        total = self.op("ReduceSum", [flat.name, axes], flat.shape, name, keepdims=1)
        total = self.shifted(total, offset.reshape(-1), f"{name}/offset")
        self._nodes[-1].output[0] = LOGITS
        return Tensor(LOGITS, total.shape)

    def finish(self, name: str) -> onnx.ModelProto:
        """The model of all nodes so far."""
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info(FRAMES, TensorProto.FLOAT, self._frames)],
            [helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, (1, self._classes))],
            self._initializers,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DIALECT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def alike(array: np.ndarray) -> bool:
    """Whether all numbers are the same."""
    return array.size > 0 and bool((array == array.flat[0]).all())


def compact(array: np.ndarray) -> np.ndarray:
    """One number where all are the same, or one a channel [C, 1, ...]."""
    if alike(array):
        return array.reshape(-1)[0]
    channels = array.reshape(len(array), -1)
    if (channels == channels[:, :1]).all():
        return channels[:, 0].reshape(-1, *[1] * (array.ndim - 1))
    return array
