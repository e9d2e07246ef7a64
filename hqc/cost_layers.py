"""Layers of spikes to measure kernels on: small networks, and recordings that fire at will.

The first layer of a network hands frames of ones and noughts on as spikes, so that a recording says
what all others see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx import numpy_helper

from hqc.dialect import DIALECT, OPSET, attach_functions

RATES = (0.01, 0.03, 0.08, 0.2, 0.4)
"""Rates that trained layers fire at, and what sums of spikes come to."""


@dataclass(frozen=True)
class Layer:
    """A convolution: outputs, pixels of a side of its window, bits, and uniform codes or shifts."""

    outputs: int
    window: int
    bits: int
    uniform: bool = True


@dataclass(frozen=True)
class Layers:
    """Layers that read the same spikes [steps, channels, side, side]."""

    channels: int
    side: int
    steps: int
    layers: Sequence[Layer]


ALL = (
    Layers(
        64,
        8,
        2,
        [
            *(Layer(64, 1, 2), Layer(64, 3, 4), Layer(128, 1, 4, uniform=False)),
            *(Layer(256, 3, 2), Layer(96, 3, 2), Layer(64, 3, 8), Layer(192, 3, 4)),
        ],
    ),
    Layers(
        192,
        4,
        4,
        [
            *(Layer(128, 1, 4), Layer(192, 3, 2), Layer(384, 1, 2)),
            *(Layer(384, 3, 4), Layer(128, 3, 4, uniform=False), Layer(192, 1, 8)),
        ],
    ),
    Layers(
        192,
        12,
        2,
        [
            *(Layer(128, 1, 2), Layer(64, 1, 4), Layer(384, 1, 4)),
            *(Layer(256, 1, 4, uniform=False), Layer(96, 1, 2)),
        ],
    ),
)
"""Few and many positions, inputs and outputs, weights within the first cache and beyond, every
field."""


def recording(layers: Layers, rate: float) -> np.ndarray:
    """Frames [T, 1, C, H, W] of ones and noughts, at a rate."""
    shape = (layers.steps, 1, layers.channels, layers.side, layers.side)
    return (np.random.default_rng(1).random(shape) < rate).astype(np.float32)


def network(layers: Layers) -> ir.Model:
    """The dialect model of layers; that of index i is called `layer.i`."""
    return _Builder(layers).model()


class _Builder:
    """A model in the making."""

    def __init__(self, layers: Layers) -> None:
        self._layers, self._random = layers, np.random.default_rng(0)
        self._nodes: list[ir.Node] = []
        self._constants: list[ir.Value] = []

    def model(self) -> ir.Model:
        """The network: frames to two classes."""
        it = self._layers
        shape = ir.Shape([it.steps, 1, it.channels, it.side, it.side])
        frames = ir.Value(name="frames", shape=shape, type=ir.TensorType(ir.DataType.FLOAT))
        scale = self._constant(np.ones(1, np.float32))
        counts = self._dialect("QuantUniform", frames, scale, bits=8, signed=0)
        image = self._view(counts, [it.steps, it.channels, it.side, it.side])
        unit = self._codes(np.eye(it.channels)[:, :, None, None], Layer(it.channels, 1, 2), 1)
        spikes = self._neurons(self._op("Conv", image, unit, kernel_shape=[1, 1]), 0.5, "frames")
        made = [self._layer(spikes, layer, f"layer.{i}") for i, layer in enumerate(it.layers)]
        outputs = sum(layer.outputs for layer in it.layers)
        axes = self._constant(np.array([0, 2, 3]))
        mean = self._op("ReduceMean", self._op("Concat", *made, axis=1), axes, keepdims=0)
        head = self._codes(self._random.normal(size=(2, outputs)), Layer(2, 1, 8))
        features = self._view(mean, [1, outputs])
        logits = self._op("Gemm", features, head, transB=1, name="head")
        logits.name, logits.shape = "logits", ir.Shape([1, 2])
        logits.type = ir.TensorType(ir.DataType.FLOAT)
        graph = ir.Graph(
            [frames],
            [logits],
            nodes=self._nodes,
            initializers=self._constants,
            name="layers",
            opset_imports={"": OPSET, DIALECT: 1},
        )
        return attach_functions(ir.Model(graph, ir_version=10))

    def _layer(self, spikes: ir.Value, layer: Layer, name: str) -> ir.Value:
        shape = (layer.outputs, self._layers.channels, layer.window, layer.window)
        codes = self._codes(self._random.normal(size=shape), layer)
        window = {"kernel_shape": [layer.window] * 2, "pads": [layer.window // 2] * 4}
        sums = self._op("Conv", spikes, codes, **window)
        return self._neurons(sums, float(np.sqrt(np.prod(shape[1:]))), name)

    def _codes(self, weights: np.ndarray, layer: Layer, scale: float = 0) -> ir.Value:
        weights = weights.astype(np.float32)
        largest = float(np.abs(weights).max())
        if not layer.uniform:
            operands = self._constant(weights), self._constant(np.array([largest], np.float32))
            return self._dialect("QuantPow2", *operands, bits=layer.bits)
        scale = scale or largest / (2 ** (layer.bits - 1) - 1)
        operands = self._constant(weights), self._constant(np.array([scale], np.float32))
        return self._dialect("QuantUniform", *operands, bits=layer.bits, narrow=1)

    def _neurons(self, sums: ir.Value, threshold: float, name: str) -> ir.Value:
        """Neurons without a memory, so that rates of later steps are those of the first."""
        return self._dialect("LIF", sums, tau=1.0, v_threshold=threshold, name=name)

    def _view(self, x: ir.Value, shape: Sequence[int]) -> ir.Value:
        return self._op("Reshape", x, self._constant(np.array(shape)))

    def _constant(self, array: np.ndarray) -> ir.Value:
        name = f"constant.{len(self._constants)}"
        tensor = ir.serde.deserialize_tensor(numpy_helper.from_array(array, name))
        value = ir.Value(
            name=name,
            shape=ir.Shape(array.shape),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        self._constants.append(value)
        return value

    def _dialect(self, op_type: str, *inputs: ir.Value, **attributes) -> ir.Value:
        return self._op(op_type, *inputs, domain=DIALECT, **attributes)

    def _op(self, op_type: str, *inputs: ir.Value, name="", domain="", **attributes) -> ir.Value:
        node = ir.node(op_type, inputs, attributes, domain=domain)
        node.name = name or f"{op_type}.{len(self._nodes)}"
        node.outputs[0].name = f"value.{len(self._nodes)}"
        self._nodes.append(node)
        return node.outputs[0]
