"""Neurons that remember from one call to the next, in a loop over time or over parts of it."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from hqc.dialect import DIALECT
from hqc.errors import UnsupportedModelError
from hqc.frontend.names import SCOPES
from hqc.models.lif import LIF
from hqc.passes.graph import add_initializer, constant, integer, remove_unused

POTENTIAL = "MembranePotential"
"""An op that stands for what neurons remember, which no model may read."""


class _Memory:
    """What neurons were given since they were at rest. No list of tensors: torch forbids those."""

    def __init__(self) -> None:
        self.given: list[Tensor] = []


class SteppedLIF(LIF):
    """A layer of a library's neurons while it is traced.

    With what it is given in a call it is shown all that it was given before, [T, ...], and gives
    the spikes of the last steps: where time only goes forward, that is what neurons do which
    remember. `merge_calls` makes one layer of all of these.
    """

    def __init__(self, neuron: LIF, single_step: bool) -> None:
        super().__init__(
            neuron.tau, neuron.v_threshold, neuron.v_reset, neuron.decay_input, neuron.drop
        )
        self._single_step, self._memory = single_step, _Memory()

    def reset(self) -> None:
        """Come to rest, as `functional.reset_net` demands it."""
        self._memory.given.clear()

    def forward(self, x: Tensor) -> Tensor:
        """[...] in single-step mode, else [t, ...] -> spikes of the same shape."""
        given = self._memory.given
        start = sum(map(len, given))
        given.append(x.unsqueeze(0) if self._single_step else x)
        spikes = super().forward(torch.cat(given) if len(given) > 1 else given[0])
        if self._single_step:
            return spikes.select(0, start)
        return spikes.narrow(0, start, len(x)) if start else spikes


def merge_calls(model: ir.Model, names: Mapping[str, str]) -> None:
    """Calls of `SteppedLIF` that follow each other become one, of all time steps.

    `names` gives a layer that is registered more than once one name for all of its own.
    Raises `UnsupportedModelError` for a layer that is given its own spikes of earlier steps, and
    where potentials are read.
    """
    graph, merged = model.graph, False
    layers: defaultdict[str, list[ir.Node]] = defaultdict(list)
    for node in graph:
        if (node.domain, node.op_type) == (DIALECT, "LIF"):
            layers[_layer(node, names)].append(node)
    for name, calls in layers.items():
        while calls:
            whole = calls.pop()
            before = [call for call in calls if _goes_on(whole, call)]
            calls = [call for call in calls if call not in before]
            if _depends(whole, before):
                raise UnsupportedModelError(
                    f"layer {name!r} is called again, with what depends on its own spikes, and its "
                    "potentials are carried over from call to call",
                    hint="make it two layers, or one without a way back: recurrent networks are "
                    "not compiled",
                )
            for call in before:
                _use(graph, whole, call)
            merged = merged or bool(before)
    if merged:
        graph.sort()
    remove_unused(model)
    for node in graph:
        if (node.domain, node.op_type) == (DIALECT, POTENTIAL):
            raise UnsupportedModelError(
                f"layer {_layer(node, names)!r}: its membrane potentials are read",
                hint="let forward return spikes, or a number of them, or a layer on these",
            )


def _layer(node: ir.Node, names: Mapping[str, str]) -> str:
    """The layer that a node was called in."""
    scope = ast.literal_eval(node.metadata_props.get(SCOPES, "['', '']"))[-2]
    return names.get(scope, scope)


def _goes_on(node: ir.Node, call: ir.Node) -> bool:
    """Whether a call of a layer begins with what an earlier one was given."""
    parts = _parts(node.inputs[0])
    given = call.inputs[0]
    return parts[0] is given or parts[: len(_parts(given))] == _parts(given)


def _parts(x: ir.Value) -> tuple[ir.Value, ...]:
    joined = x.producer()
    return tuple(joined.inputs) if joined is not None and joined.op_type == "Concat" else (x,)


def _depends(node: ir.Node, on: list[ir.Node]) -> bool:
    """Whether a node reads something that is computed of others."""
    pending, seen = [node], set()
    while pending:
        for value in pending.pop().inputs:
            before = value.producer() if value is not None else None
            if before in on:
                return True
            if before is not None and before not in seen:
                seen.add(before)
                pending.append(before)
    return False


def _use(graph: ir.Graph, whole: ir.Node, call: ir.Node) -> None:
    """Let what reads a call's spikes read the first steps of all."""
    (old,), (new,) = call.outputs, whole.outputs
    for use in list(old.uses()):
        if use.node.op_type == "Gather" and integer(use.node, "axis", 0) == 0:
            index = constant(use.node.inputs[1])
            if index is not None and np.all(index >= 0):  # from the end, it would be another step
                use.node.replace_input_with(use.idx, new)
    if old.uses():
        steps = old.shape.numpy()[0]
        bounds = [add_initializer(graph, np.array([n]), f"{old.name}.{n}") for n in (0, steps, 0)]
        first = ir.node("Slice", [new, *bounds], name=f"{old.name}/Slice")
        first.outputs[0].shape, first.outputs[0].type = old.shape, old.type
        graph.insert_after(whole, first)
        old.replace_all_uses_with(first.outputs[0])
    graph.remove(call, safe=True)
