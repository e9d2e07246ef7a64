"""Streams of membrane potentials: values that are added up, pooled or viewed without a layer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx_ir as ir

from hqc.dialect import DIALECT, find_op
from hqc.dialect.integer_lif import NEURONS

_FINEST, _COARSEST = 18, 8
"""Bits below the least threshold that a stream's potentials have; its ranges say how many fit."""

_DEEPEST = 24
"""Bits below what potentials can reach, where no neurons read them: those of a float32."""

_LAYERS = {"Conv", "Gemm", "MatMul", "QuantUniform", "QuantPow2", *NEURONS}
"""Ops whose output is another stream than their input."""


@dataclass(eq=False)
class Stream:
    """Values whose potentials share a unit: a residual stream, or what one layer gives.

    `threshold` is the least of the neurons that read it, or of the network where only layers do;
    its unit is measured by that. Behind the network's last neurons, and before those whose
    threshold is not above 0, it is what potentials can reach.
    """

    threshold: float | None
    bits: int = 0

    def __post_init__(self) -> None:
        if self.threshold is not None:
            self.bits = _FINEST + self._below

    def measure(self, reach: float) -> None:
        """Take a unit for potentials up to `reach`, which no neurons read."""
        self.threshold = max(reach, 2.0**-60)
        self.bits = _DEEPEST + self._below

    @property
    def _below(self) -> int:
        """Fractional bits at which the unit is about the threshold."""
        return -math.floor(math.log2(self.threshold))

    @property
    def unit(self) -> float:
        """What 1 stands for."""
        return 2.0**-self.bits

    @property
    def is_coarsest(self) -> bool:
        """Whether a coarser unit would not resolve the threshold."""
        return self.bits <= _COARSEST + self._below

    def coarsen(self, by: float) -> bool:
        """Take a unit that is at least that many times coarser, if one resolves the threshold."""
        self.bits -= max(1, math.floor(math.log2(by)))
        return self.bits >= _COARSEST + self._below


def _ancestors(values: list[ir.Value]) -> set[ir.Value]:
    """The values, and all that they are computed from."""
    found: set[ir.Value] = set()
    pending = list(values)
    while pending:
        value = pending.pop()
        if value not in found:
            found.add(value)
            node = value.producer()
            pending += [v for v in node.inputs if v is not None] if node else []
    return found


def find_streams(graph: ir.Graph) -> dict[ir.Value, Stream]:
    """The stream of every value of a dialect graph."""
    parents: dict[ir.Value, ir.Value] = {}

    def root(value: ir.Value) -> ir.Value:
        while parents.setdefault(value, value) is not value:
            value = parents[value]
        return value

    thresholds: dict[ir.Value, float] = {}
    measured: set[ir.Value] = set()
    neurons = [n for n in graph if n.domain == DIALECT and n.op_type in NEURONS]
    for node in graph:
        values = [node.outputs[0]]
        if node.op_type not in _LAYERS:
            values += [v for v in node.inputs if v is not None and not v.is_initializer()]
        for value in values:
            parents[root(value)] = root(node.outputs[0])
    for node in neurons:
        threshold, stream = find_op(node).attributes(node)["v_threshold"], root(node.inputs[0])
        if threshold > 0:
            thresholds[stream] = min(threshold, thresholds.get(stream, threshold))
        else:
            measured.add(stream)
    least = min(thresholds.values(), default=1.0)
    before_neurons = {root(v) for v in _ancestors([n.inputs[0] for n in neurons])} - measured
    streams = {
        stream: Stream(thresholds.get(stream, least if stream in before_neurons else None))
        for stream in map(root, list(parents))
    }
    return {value: streams[root(value)] for value in list(parents)}
