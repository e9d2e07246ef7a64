"""How often a layer does what: the counts that energy equations are written in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hqc.errors import UserError

FLOAT_BITS = 32
FRAME_BITS = 8
"""Bits of an input that is no spike, once the network is quantized."""


@dataclass(frozen=True)
class Precision:
    """How weights are stored: `scheme` is "uniform", "pow2" or "float"."""

    bits: int
    scheme: str

    @classmethod
    def of(cls, choice: str) -> Precision:
        """From a recipe's notation: `fp32`, `4u` uniform, `2l` power of two. Raises `UserError`."""
        if choice == "fp32":
            return FP32
        if choice[:-1].isdigit() and choice[-1] in "ul":
            return cls(int(choice[:-1]), "uniform" if choice[-1] == "u" else "pow2")
        raise UserError(f"unknown quantizer {choice!r}", hint="write fp32, or e.g. 4u, 2l, 8u")

    def __str__(self) -> str:
        if self.scheme == "float":
            return "fp32"
        return f"{self.bits}{'u' if self.scheme == 'uniform' else 'l'}"

    @property
    def code_bits(self) -> int:
        """Bits of the integer that a weight stands for: a shift of K places needs K more."""
        return max(self.bits, 2 ** (self.bits - 1)) if self.scheme == "pow2" else self.bits


FP32 = Precision(FLOAT_BITS, "float")


@dataclass
class LayerCounts:
    """One layer, or one product of activations, in one inference.

    `levels` is the largest sum of spikes that an input value can be, 0 for inputs that are no
    spikes. `operations` are the synaptic operations: spikes times the connections that each
    crosses, padding excluded; where inputs are no spikes, every connection is one multiply-
    accumulate. `spike_operands` is 2 for a product of spikes with spikes, where two must meet.
    `additions` are the connections crossed by inputs that are not zero. `spikes_per_step` and
    `fired_per_step` (of the layer's own neurons) are sums over all values of a time step.
    """

    name: str
    kind: str
    weights: int = 0
    fan_in: int = 0
    levels: int = 0
    spike_operands: int = 1
    inputs: float = 0.0
    spikes: float = 0.0
    synapses: float = 0.0
    operations: float = 0.0
    additions: float = 0.0
    neurons: int = 0
    updates: float = 0.0
    spikes_per_step: list[float] = field(default_factory=list)
    fired_per_step: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float | None:
        """Spikes an input value and time step; None where inputs are no spikes."""
        return self.spikes / self.inputs if self.levels else None

    @property
    def firing_rates(self) -> list[float]:
        """Spikes a neuron of this layer, for each time step."""
        return [fired / self.neurons for fired in self.fired_per_step]

    def at_rate(self, rate: float) -> LayerCounts:
        """The same layer, were its inputs to fire at a given rate, and independently."""
        if not self.levels:
            return self
        operations = rate**self.spike_operands * self.synapses
        return replace(
            self,
            spikes=rate * self.inputs,
            operations=operations,
            additions=operations,
            spikes_per_step=[],
            fired_per_step=[],
        )

    def quantities(self, precision: Precision, time_steps: int) -> dict[str, float]:
        """A value for each of `hqc.targets.energy.QUANTITIES`, sizes in bit."""
        is_float = precision.scheme == "float"
        largest = max(self.fan_in, 1) * (self.levels or 2**FRAME_BITS - 1)
        width = precision.code_bits + math.ceil(math.log2(largest))
        return {
            "T": time_steps,
            "synapses": self.synapses,
            "operations": self.operations,
            "rate": self.rate or 0.0,
            "inputs": self.inputs,
            "input_bits": self.levels.bit_length() or (FLOAT_BITS if is_float else FRAME_BITS),
            "spiking": float(self.levels > 0),
            "weights": self.weights,
            "weight_bits": precision.bits,
            "code_bits": precision.code_bits,
            "accumulator_bits": FLOAT_BITS if is_float else min(width, FLOAT_BITS),
            "float_weights": float(is_float),
            "power_of_two": float(precision.scheme == "pow2"),
            "neurons": self.neurons,
            "updates": self.updates,
        }


def coverage(
    size: int, outputs: int, kernel: int, stride: int, dilation: int, pad: int
) -> np.ndarray:
    """How many outputs of a convolution read each position of one axis, [size]."""
    taps = np.arange(outputs)[:, None] * stride + np.arange(kernel) * dilation - pad
    taps = taps[(taps >= 0) & (taps < size)]
    return np.bincount(taps, minlength=size)


@dataclass(frozen=True)
class Window:
    """The geometry of a convolution: one entry an axis."""

    kernel: Sequence[int]
    stride: Sequence[int]
    dilation: Sequence[int]
    pad: Sequence[int]
    outputs: Sequence[int]


class Tally:
    """Adds up what layers do in recordings; the one definition of every count.

    A torch module and an ONNX model are both counted by telling a `Tally` what runs, in order:
    layers with the arrays that they read, and the neurons that follow each. `per_step` needs arrays
    that have time steps along their first axis.
    """

    def __init__(self, time_steps: int, *, per_step: bool = True) -> None:
        self.time_steps, self._steps = time_steps, per_step
        self._layers: dict[str, LayerCounts] = {}
        self._last: LayerCounts | None = None
        self._recordings = 0

    def start(self, recordings: int = 1) -> None:
        """Begin a run of one recording, or of a batch."""
        self._recordings += recordings
        self._last = None

    def convolution(
        self, name: str, x: np.ndarray, levels: int, weight_shape: Sequence[int], window: Window
    ) -> None:
        """A convolution of x [rows, C, axes...] with weights [C_out, C / groups, kernel...]."""
        fan_out = np.ones(1) * weight_shape[0] * weight_shape[1] / x.shape[1]
        for axis in range(x.ndim - 2):
            count = coverage(
                x.shape[2 + axis],
                window.outputs[axis],
                window.kernel[axis],
                window.stride[axis],
                window.dilation[axis],
                window.pad[axis],
            )
            fan_out = np.multiply.outer(fan_out, count)
        weights, fan_in = math.prod(weight_shape), math.prod(weight_shape[1:])
        self._weighted(name, "conv", x, levels, fan_out[0], weights, fan_in)

    def linear(self, name: str, x: np.ndarray, levels: int, outputs: int) -> None:
        """A linear layer on x [..., C]."""
        weights = outputs * x.shape[-1]
        self._weighted(name, "linear", x, levels, np.asarray(outputs), weights, x.shape[-1])

    def _weighted(
        self,
        name: str,
        kind: str,
        x: np.ndarray,
        levels: int,
        fan_out: np.ndarray,
        weights: int,
        fan_in: int,
    ) -> None:
        layer = self._enter(name, kind, levels)
        layer.weights, layer.fan_in = weights, fan_in
        crossed = float(np.broadcast_to(fan_out, x.shape).sum(dtype=np.float64))
        layer.inputs += x.size
        layer.synapses += crossed
        if levels:
            layer.spikes += self._per_step(layer.spikes_per_step, x)
            layer.operations += float((x * fan_out).sum(dtype=np.float64))
        else:
            layer.operations += crossed
        layer.additions += float(((x != 0) * fan_out).sum(dtype=np.float64))

    def product(
        self, name: str, a: np.ndarray, b: np.ndarray, a_levels: int, b_levels: int
    ) -> None:
        """A product of activations, a [..., M, K] and b [..., K, N], as attention forms it.

        Where both are spikes an operation is a pair of spikes that meet; where one is, each of its
        spikes adds a row or a column of the other.
        """
        layer = self._enter(name, "product", max(a_levels, b_levels))
        layer.fan_in = a.shape[-1]
        rows, columns = a.shape[-2], b.shape[-1]
        dense = float(a.size) * columns
        before = layer.operations
        layer.synapses += dense
        spiking = [x for x, levels in ((a, a_levels), (b, b_levels)) if levels]
        layer.spike_operands = len(spiking)
        for x in spiking:
            layer.inputs += x.size
            layer.spikes += self._per_step(layer.spikes_per_step, x)
        if a_levels and b_levels:
            met = a.sum(-2, dtype=np.float64) * b.sum(-1, dtype=np.float64)
            layer.operations += float(met.sum())
        elif b_levels:
            layer.operations += float(b.sum(dtype=np.float64)) * rows
        elif a_levels:
            layer.operations += float(a.sum(dtype=np.float64)) * columns
        else:
            layer.inputs += a.size + b.size
            layer.operations += dense
        layer.additions += layer.operations - before

    def neurons(self, spikes: np.ndarray) -> None:
        """Neurons behind the last layer, by the spikes that they emit, [T, ...]."""
        if self._last is not None:
            self._last.updates += spikes.size
            self._per_step(self._last.fired_per_step, spikes)

    def _enter(self, name: str, kind: str, levels: int) -> LayerCounts:
        layer = self._layers.setdefault(name, LayerCounts(name, kind))
        layer.levels = max(layer.levels, levels)
        self._last = layer
        return layer

    def _per_step(self, sums: list[float], x: np.ndarray) -> float:
        """Add what fires in each time step, where x has time steps along its first axis."""
        if self._steps and x.shape[0] % self.time_steps == 0:
            steps = x.reshape(self.time_steps, -1).sum(1, dtype=np.float64)
            sums[:] = steps + (sums or 0)
        return float(x.sum(dtype=np.float64))

    def finish(self) -> list[LayerCounts]:
        """The counts of an average recording, in the order in which layers ran."""
        for layer in self._layers.values():
            for count in ("inputs", "spikes", "synapses", "operations", "additions", "updates"):
                setattr(layer, count, getattr(layer, count) / self._recordings)
            layer.neurons = round(layer.updates / self.time_steps)
            for sums in (layer.spikes_per_step, layer.fired_per_step):
                sums[:] = [float(s) / self._recordings for s in sums]
        return list(self._layers.values())
