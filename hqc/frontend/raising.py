"""What a module writes out in many ops becomes one again, and is compared with what it was."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from hqc.data.synthetic import frames_over_range
from hqc.dialect import attach_functions
from hqc.errors import VerificationError
from hqc.frontend.comparisons import find_comparisons
from hqc.frontend.firings import is_threshold
from hqc.frontend.names import name_nodes
from hqc.frontend.rounded_activations import find_rounded
from hqc.frontend.steps import find_steps
from hqc.frontend.unrolled import find_neurons
from hqc.frontend.written_neurons import find_written
from hqc.passes.fold_constants import FoldConstants
from hqc.passes.graph import remove_unused, unsupported
from hqc.reference import ReferenceSession

Pair = tuple[ir.Value, ir.Value]
"""A value of the graph, and one that was made to stand for it."""

_SAME = 0.999
"""Of all numbers: a layer of all steps rounds as one of a single step only nearly does."""


def take_raised(model: ir.Model) -> ir.Model:
    """What is written out in standard ONNX becomes neurons, and loops over time layers.

    Raises `VerificationError` where what stands for a value is not what that was, and
    `UnsupportedModelError` where it reads NaN or infinities, of which nobody can say.
    """
    _take_out_copies(model.graph)
    if any(is_threshold(node) for node in model.graph):
        model = FoldConstants().run(model)  # of which time constants and first potentials are made
    for find in (find_written, find_neurons, find_rounded, find_comparisons, find_steps):
        before = list(model.graph)
        pairs = find(model.graph)
        if pairs:
            attach_functions(model)
            _compare(model, pairs, _read(model.graph, before))
        for old, new in pairs:
            name = old.name
            old.replace_all_uses_with(new, replace_graph_outputs=True)
            old.name, new.name = f"{name}.written", name
        if pairs:
            model.graph.sort()
        remove_unused(model)  # what was made and not taken leaves constants, too
        name_nodes(model.graph)
    return attach_functions(model)


def _take_out_copies(graph: ir.Graph) -> None:
    """Ops that give what they read: Identity, casts of floats to floats, Concat of one tensor."""
    for node in list(graph):
        alone = node.op_type == "Concat" and len(node.inputs) == 1
        if node.domain or not (alone or node.op_type in ("Cast", "CastLike", "Identity")):
            continue
        x, copy = node.inputs[0], node.outputs[0]
        if x is not None and x.dtype == copy.dtype and not copy.is_graph_output():
            copy.replace_all_uses_with(x)
            graph.remove(node, safe=True)


def _read(graph: ir.Graph, before: Sequence[ir.Node]) -> list[ir.Value]:
    """What nodes that are new in a graph read of those that it had before."""
    old = set(before)
    new = [node for node in graph if node not in old]
    inputs = dict.fromkeys(v for node in new for v in node.inputs if v is not None)
    return [v for v in inputs if v.producer() in old]


def _compare(model: ir.Model, pairs: Sequence[Pair], read: Sequence[ir.Value]) -> None:
    """Run both on the same frames."""
    outputs = [value.name for value in model.graph.outputs]
    values = [*read, *(v for pair in pairs for v in pair)]
    watched = [v.name for v in dict.fromkeys(values) if v.name not in outputs]
    session = ReferenceSession(model, watched)
    for recording in frames_over_range(model):
        tensors = session.run({model.graph.inputs[0].name: recording.frames})
        found = dict(zip((*outputs, *watched), tensors, strict=True))
        for value in read:
            if not np.isfinite(found[value.name]).all():
                raise unsupported(
                    value.producer(),
                    "it gives numbers that are NaN or infinite, of frames in the input's range",
                    "is a variance negative, or a scale before it far too large?",
                )
        for old, new in pairs:
            a, b = found[old.name], found[new.name]
            if a.shape != b.shape or np.isclose(a, b, 1e-3, 1e-4).mean() < _SAME:
                raise VerificationError(
                    f"{old.name!r} is not what hqc reads it as, an op over all time steps, on "
                    f"{recording.name}"
                )
