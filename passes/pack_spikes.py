"""Spikes become packed words, and every layer one kernel that ends in its neurons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from hqc.dialect import KERNEL
from hqc.dialect.facts import Facts
from hqc.dialect.layouts import is_after_last_step, readout
from hqc.passes.graph import GraphBuilder, unsupported
from hqc.passes.packing import Packing, find_step
from hqc.passes.pass_base import Pass, register


@register
@dataclass(frozen=True)
class PackSpikes(Pass):
    """Replace the integer graph by one of kernels on packed spikes, by the steps in `packing`.

    1. Spikes become uint32 [T, H, W, planes, words], channels last; a token is a position.
       Potentials become int32 [T, H, W, 32 words].
    2. A convolution or linear layer and the FixedPointLIF or Rescale that reads it become one
       kernel, so that accumulators are never stored.
    3. OrPool, SpikeAttention, Add and the sum before the classifier become their packed kernels;
       ops on potentials theirs.
    4. Views vanish: their axes are followed, and refused where a kernel would need a copy.
    5. What reads all time steps together comes last: it runs once, after the last of them.
    """

    name: ClassVar[str] = "pack-spikes"

    def run(self, model: ir.Model) -> ir.Model:
        """Build the kernel model."""
        packing = Packing(GraphBuilder(model.graph))
        for node in model.graph:
            if Facts.of(node.outputs[0]) is None:
                raise unsupported(
                    node, "nothing says what its output can reach", "run make-integer before"
                )
            result = find_step(node)(node, packing)
            if result is not None:
                packing.env[node.outputs[0]] = result
        made = packing.builder.finish(model, [packing.logits[v] for v in model.graph.outputs])
        _keep_what_is_read_later(made.graph)
        after = [n for n in made.graph if n in readout(made.graph)]
        made.graph.remove(after)
        made.graph.extend(after)
        return made


def _keep_what_is_read_later(graph: ir.Graph) -> None:
    """KeepSteps of what each time step gives and is read after the last one."""
    after = readout(graph)
    found: dict[ir.Value, ir.Value] = {}
    for node in after:
        for index, value in enumerate(node.inputs):
            source = value.producer()
            if source is None or source in after or is_after_last_step(value):
                continue
            if value not in found:
                keep = ir.node("KeepSteps", [value], domain=KERNEL, name=f"{value.name}/KeepSteps")
                found[value] = keep.outputs[0]
                found[value].shape, found[value].type = value.shape, value.type
                Facts.of(value).write(found[value])
                graph.insert_after(source, keep)
            node.replace_input_with(index, found[value])
