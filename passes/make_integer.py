"""Floats become integers: codes for weights, thresholds for BatchNorm and scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from hqc.errors import UserError
from hqc.passes.graph import GraphBuilder, MixedTimeError, unsupported
from hqc.passes.integer_rules import (
    Lowering,
    PotentialOverflowError,
    Quantity,
    Weights,
    find_rule,
    read_out,
)
from hqc.passes.integer_rules.frames import frames_as_sums
from hqc.passes.integer_rules.quantity import Mark
from hqc.passes.integer_rules.streams import Stream, find_streams
from hqc.passes.integer_rules.time_steps import join_steps
from hqc.passes.pass_base import Pass, register

MODES = ("auto", "exact", "guarded")
POTENTIAL_BITS = (16, 32)


@register
@dataclass(frozen=True)
class MakeInteger(Pass):
    """Replace every op on floats by one on integers, by the rules in `integer_rules`.

    1. Quantized weights become integer codes; their scales, biases and BatchNorm travel along as a
       scale and an offset per channel, and end in the neurons' thresholds.
    2. Every integer's interval is proven from the codes; membrane potentials get as many
       fractional bits as 32 bits allow; those of a stream, which layers add up or share, one unit.
    3. `mode` says how a potential is held: exact (never rounded, tau = 2 only), guarded (rounded
       once a step), or auto, whichever has the smaller error bound in that layer.
    4. With `potential_bits=16`, potentials are kept in 16 bits between steps, by as many fractional
       bits fewer, in layers where that keeps the error bound below a 128th of the threshold.
    5. What mixes time steps sees all of them together, as positions: in compiled code once all have
       been computed.
    6. Every tensor carries its facts, and every layer of neurons the bound of what rounding costs.
    """

    name: ClassVar[str] = "make-integer"
    tolerance: ClassVar[float] = 0.05
    mode: str = "auto"
    potential_bits: int = 32

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(
                f"make-integer has no mode {self.mode!r}", hint=f"modes are: {', '.join(MODES)}"
            )
        if self.potential_bits not in POTENTIAL_BITS:
            raise UserError(
                f"make-integer holds no potentials of {self.potential_bits} bits",
                hint=f"potential_bits is {' or '.join(map(str, POTENTIAL_BITS))}",
            )

    def run(self, model: ir.Model) -> ir.Model:
        """Build the integer model, with as many fractional bits of potentials as can be."""
        graph = model.graph
        time_steps, *_ = *graph.inputs[0].shape.numpy(), 1
        lowering = Lowering(
            GraphBuilder(graph),
            self.mode,
            self.potential_bits,
            time_steps,
            find_streams(graph),
            frames_as_sums,
        )
        _lower([*graph, *graph.outputs], lowering)
        lowering.finish()
        return lowering.builder.finish(model, [lowering.logits[v] for v in graph.outputs])


def _lower(todo: Sequence[ir.Node | ir.Value], lowering: Lowering) -> None:
    """Lower nodes, then outputs.

    Where a stream needs a coarser unit, what its unit had a part in is lowered again: all from the
    first node on that asked for it.
    """
    first: dict[Stream, tuple[int, Mark]] = {}
    at = 0
    while at < len(todo):
        mark = lowering.mark()
        lowering.asked.clear()
        overflow = _attempt(todo[at], lowering)
        for stream in lowering.asked:
            first.setdefault(stream, (at, mark))
        at += 1
        if overflow is not None:
            _coarsen(overflow)
            at, mark = first[overflow.stream]
            lowering.rewind(mark)
            first = {stream: asked for stream, asked in first.items() if asked[0] <= at}


def _attempt(what: ir.Node | ir.Value, lowering: Lowering) -> PotentialOverflowError | None:
    """Lower a node by its rule, or an output that no rule has read out."""
    try:
        if isinstance(what, ir.Node):
            result = _by_rule(what, lowering)
            if result is not None:
                lowering.env[what.outputs[0]] = result
        elif what not in lowering.logits:
            lowering.logits[what] = read_out(what, lowering)
    except PotentialOverflowError as overflow:
        return overflow
    return None


def _coarsen(overflow: PotentialOverflowError) -> None:
    """Give the stream a coarser unit. Raises `UnsupportedModelError` where none would do."""
    if not overflow.stream.coarsen(overflow.by):
        raise unsupported(
            overflow.node,
            "its membrane potentials do not fit 32 bits beside the least threshold "
            f"that reads them, {overflow.stream.threshold:g}",
            "is a scale or a bias before it, as of a BatchNorm, far too large?",
        ) from overflow


def _by_rule(node: ir.Node, lowering: Lowering) -> Quantity | Weights | None:
    """What a node becomes, step by step where that can be."""
    try:
        return find_rule(node)(node, lowering)
    except MixedTimeError:
        apart = {v: lowering.env[v] for v in node.inputs if v in lowering.env}
        if not join_steps(node, lowering):
            raise
        made = find_rule(node)(node, lowering)
        lowering.env.update(apart)
        return made
