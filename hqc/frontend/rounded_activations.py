"""Activations that are clipped and rounded to integers -> IntegerLIF without a memory.

As integer neurons are trained (SpikeYOLO, Spike-driven Transformer V3), whose time steps are put
back when they run.
"""

from __future__ import annotations

import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.dialect.metadata import WRITTEN
from hqc.passes.graph import constant


def find_rounded(graph: ir.Graph) -> list[tuple[ir.Value, ir.Value]]:
    """clip(round(x), 0, n), in either order, or floor(x + 1/2), and neurons, put before each."""
    pairs = []
    for node in list(graph):
        found = _rounded(node)
        if found is None:
            continue
        x, levels, half_up = found
        attributes = {"levels": levels, "tau": 1.0, "decay_input": 0, "half_up": half_up}
        made = ir.node("IntegerLIF", [x], attributes, domain=DIALECT, name=node.name)
        node.name = f"{node.name}.written"
        made.metadata_props[WRITTEN] = node.op_type
        old, new = node.outputs[0], made.outputs[0]
        new.name, new.shape, new.type = f"{old.name}.neurons", old.shape, old.type
        graph.insert_before(node, made)
        pairs.append((old, new))
    return pairs


def _rounded(node: ir.Node) -> tuple[ir.Value, int, int] | None:
    """What is rounded, to how many levels above 0, and whether halves go up; None if it is not."""
    levels, rounding = None, None
    value = node.outputs[0]
    for _ in range(2):
        inner = value.producer()
        if inner is None or inner.domain:
            return None
        if inner.op_type == "Clip" and levels is None:
            levels, value = _levels(inner), inner.inputs[0]
        elif inner.op_type == "Round" and rounding is None:
            rounding, value = 0, inner.inputs[0]
        elif inner.op_type == "Floor" and rounding is None:
            sums = inner.inputs[0].producer()
            if sums is None or sums.op_type != "Add":
                return None
            halves = [i for i, v in enumerate(sums.inputs) if _is(v, 0.5)]
            if len(halves) != 1:
                return None
            rounding, value = 1, sums.inputs[1 - halves[0]]
        else:
            return None
    found = levels and rounding is not None and len(value.shape) > 0
    return (value, levels, rounding) if found else None


def _levels(clip: ir.Node) -> int | None:
    """The upper end of a Clip from 0 on, where it is a small integer."""
    ends = [constant(v) for v in clip.inputs[1:3]]
    if len(ends) < 2 or any(end is None for end in ends) or ends[0].item() != 0:
        return None
    most = ends[1].item()
    return int(most) if 1 <= most <= 255 and most == int(most) else None


def _is(value: ir.Value, number: float) -> bool:
    array = constant(value)
    return array is not None and array.size == 1 and bool(array.item() == number)
