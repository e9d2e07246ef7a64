"""Floats become integers: codes for weights, thresholds for BatchNorm and scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from hqc.errors import UnsupportedModelError, UserError
from hqc.passes.graph import GraphBuilder, unsupported
from hqc.passes.integer_rules import Lowering, PotentialOverflowError, find_rule
from hqc.passes.pass_base import Pass, register

_FINEST = 18
"""Fractional bits of shared potentials, unless range analysis finds that fewer must do."""

MODES = ("auto", "exact", "guarded")


@register
@dataclass(frozen=True)
class MakeInteger(Pass):
    """Replace every op on floats by one on integers, by the rules in `integer_rules`.

    1. Quantized weights become int8 codes; their scales, biases and BatchNorm travel along as a
       scale and an offset per channel, and end in the neurons' thresholds.
    2. Every integer's interval is proven from the codes; membrane potentials get as many
       fractional bits as 32 bits allow; those that layers add up or share, one unit.
    3. `mode` says how a potential is held: exact (never rounded, tau = 2 only), guarded (rounded
       once a step), or auto, whichever has the smaller error bound in that layer.
    """

    name: ClassVar[str] = "make-integer"
    tolerance: ClassVar[float] = 0.05
    mode: str = "auto"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(
                f"make-integer has no mode {self.mode!r}", hint=f"modes are: {', '.join(MODES)}"
            )

    def run(self, model: ir.Model) -> ir.Model:
        """Build the integer model, with as many fractional bits of potentials as can be."""
        for unit_bits in range(_FINEST, -1, -1):
            try:
                return self._lowered(model, unit_bits)
            except PotentialOverflowError as overflow:
                last = overflow
        raise unsupported(last.node, "its membrane potentials do not fit 32 bits")

    def _lowered(self, model: ir.Model, unit_bits: int) -> ir.Model:
        graph = model.graph
        time_steps = graph.inputs[0].shape.numpy()[0]
        lowering = Lowering(GraphBuilder(graph), self.mode, time_steps, unit_bits)
        for node in graph:
            result = find_rule(node)(node, lowering)
            if result is not None:
                lowering.env[node.outputs[0]] = result
        for value in graph.outputs:
            if value not in lowering.logits:
                raise UnsupportedModelError(
                    f"output {value.name!r} is not the output of a classifier",
                    hint="end the network with a quantized linear layer on the mean of its spikes",
                )
        return lowering.builder.finish(model, [lowering.logits[v] for v in graph.outputs])
