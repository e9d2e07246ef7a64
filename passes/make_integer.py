"""Floats become integers: codes for weights, thresholds for BatchNorm and scales."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from hqc.dialect import DIALECT, find_op
from hqc.errors import UnsupportedModelError, UserError
from hqc.passes.graph import GraphBuilder, unsupported
from hqc.passes.integer_rules import Lowering, PotentialOverflowError, find_rule
from hqc.passes.pass_base import Pass, register

_FINEST, _COARSEST = 18, 8
"""Bits below the least threshold that shared potentials have; range analysis finds how many fit."""

MODES = ("auto", "exact", "guarded")


@register
@dataclass(frozen=True)
class MakeInteger(Pass):
    """Replace every op on floats by one on integers, by the rules in `integer_rules`.

    1. Quantized weights become integer codes; their scales, biases and BatchNorm travel along as a
       scale and an offset per channel, and end in the neurons' thresholds.
    2. Every integer's interval is proven from the codes; membrane potentials get as many
       fractional bits as 32 bits allow; those that layers add up or share, one unit.
    3. `mode` says how a potential is held: exact (never rounded, tau = 2 only), guarded (rounded
       once a step), or auto, whichever has the smaller error bound in that layer.
    4. Every tensor carries its facts, and every layer of neurons the bound of what rounding costs.
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
        threshold = _least_threshold(model.graph)
        below = -math.floor(math.log2(threshold))
        unit_bits = _FINEST + below
        while True:
            try:
                return self._lowered(model, threshold, unit_bits, _COARSEST + below)
            except PotentialOverflowError as overflow:
                unit_bits -= max(1, math.floor(math.log2(overflow.by)))
                if unit_bits < _COARSEST + below:
                    raise unsupported(
                        overflow.node,
                        "its membrane potentials do not fit 32 bits beside the network's least "
                        f"threshold, {threshold:g}",
                        "is the scale of a BatchNorm before it far too large?",
                    ) from None

    def _lowered(
        self, model: ir.Model, threshold: float, unit_bits: int, coarsest_bits: int
    ) -> ir.Model:
        graph = model.graph
        lowering = Lowering(
            GraphBuilder(graph),
            self.mode,
            graph.inputs[0].shape.numpy()[0],
            threshold,
            unit_bits,
            coarsest_bits,
        )
        for node in graph:
            result = find_rule(node)(node, lowering)
            if result is not None:
                lowering.env[node.outputs[0]] = result
        lowering.finish()
        for value in graph.outputs:
            if value not in lowering.logits:
                raise UnsupportedModelError(
                    f"output {value.name!r} is not the output of a classifier",
                    hint="end the network with a quantized linear layer on the mean of its spikes",
                )
        return lowering.builder.finish(model, [lowering.logits[v] for v in graph.outputs])


def _least_threshold(graph: ir.Graph) -> float:
    """The least threshold of any neurons; 1 where there are none."""
    neurons = (n for n in graph if (n.domain, n.op_type) == (DIALECT, "LIF"))
    return min((find_op(n).attributes(n)["v_threshold"] for n in neurons), default=1.0)
