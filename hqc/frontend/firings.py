"""Where one step's neurons fire: a number that is compared with a threshold, and its spikes."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx_ir as ir

from hqc.frontend.affine import Affine, Evaluation, Side, is_elementwise, narrowed
from hqc.passes.graph import constant

_THRESHOLDS = {"Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "Sign"}
"""Ops that find out on which side of a threshold a potential is."""

Seen = tuple[ir.Value, Affine]
"""A value, and an affine function of it."""


@dataclass(eq=False)
class Firing:
    """Where one step's neurons are compared with their threshold.

    `way` leads from the number that `nodes` compare to what it is made of with constants alone;
    each with what the gap to the threshold is of it. `spikes` are the values, made of the
    comparisons alone, that others read, with what they are below and above.
    """

    way: list[Seen]
    nodes: list[ir.Node]
    strict: bool
    spikes: list[tuple[ir.Value, float, float]]

    @property
    def node(self) -> ir.Node:
        """The node that messages name."""
        return self.nodes[0]


def is_threshold(node: ir.Node) -> bool:
    """Whether a node may compare a potential with its threshold."""
    return not node.domain and node.op_type in _THRESHOLDS


def find_firings(graph: ir.Graph) -> Iterator[Firing]:
    """Comparisons of one number, computed in floats, with a threshold, in the graph's order."""
    groups: dict[tuple[ir.Value, bytes], tuple[list[Seen], list[ir.Node]]] = {}
    for node in graph:
        found = _gap(node) if is_threshold(node) else None
        if found is not None:
            compared, gap = found
            way = [(x, Affine(gap.constant).plus(made)) for x, made in _on_the_way(compared)]
            key = compared, np.asarray(np.float32(gap.constant)).tobytes()
            groups.setdefault(key, (way, []))[1].append(node)
    for way, nodes in groups.values():
        spikes, strict = _spikes(*way[0], nodes)
        if spikes:
            yield Firing(way, nodes, strict, spikes)


def _gap(node: ir.Node) -> Seen | None:
    """The one number that is compared, and how far it is above the threshold."""
    if any(v.dtype != ir.DataType.FLOAT or v.shape is None for v in node.inputs):
        return None
    numbers = [constant(v) for v in node.inputs]
    if node.op_type != "Sign" and sum(n is None for n in numbers) != 1:
        return None
    which = [n is None for n in numbers].index(True)
    gap = Affine(np.float64(0), {node.inputs[which]: np.float64(1)})
    if node.op_type != "Sign":
        gap = gap.plus(Affine(narrowed(numbers[1 - which])), -1.0)
    return node.inputs[which], gap


def _on_the_way(value: ir.Value) -> Iterator[Seen]:
    """A number, and those before it, as far as only constants were added and multiplied.

    Each comes with what the first is of it.
    """
    factor, offset = np.float64(1), np.float64(0)
    yield value, Affine(offset, {value: factor})
    while (node := value.producer()) is not None and not node.domain:
        rest = [v for v in node.inputs if v is not None and constant(v) is None]
        if len(rest) != 1 or not is_elementwise(node):
            return
        (inner,) = rest
        alone = Evaluation(Affine(np.float64(0)), Side.AT, partial(operator.is_, inner))
        made = alone.of(value)
        if made is None or made.terms.keys() != {inner} or np.size(made.of(inner)) > 1:
            return
        offset = offset + factor * made.constant
        factor = factor * made.of(inner)
        value = inner
        yield value, Affine(offset, {value: factor})


def _spikes(
    compared: ir.Value, gap: Affine, nodes: Sequence[ir.Node]
) -> tuple[list[tuple[ir.Value, float, float]], bool]:
    """Floats that say whether it fired: what they are below and above; whether at it, it did not.

    None of them is made of another.
    """
    sides = {side: Evaluation(gap, side, lambda v: v is compared) for side in Side}
    made: dict[ir.Value, tuple[float, ...]] = {}
    pending = [v for node in nodes for v in node.outputs]
    while pending:
        value = pending.pop(0)
        node = value.producer()
        if value in made or not (node in nodes or _is_of(node, made)):
            continue
        levels = [sides[side].of(value) for side in Side]
        if all(x is not None and x.is_constant and not x.constant.ndim for x in levels):
            made[value] = tuple(float(x.constant) for x in levels)
            pending += [v for use in value.uses() for v in use.node.outputs]
    fires = {v: ls for v, ls in made.items() if ls[0] != ls[2] and ls[1] in ls[::2]}
    fires = {v: ls for v, ls in fires.items() if v.dtype == ir.DataType.FLOAT}
    read = [
        v
        for v in fires
        if v.is_graph_output() or any(not _is_of(use.node, made) for use in v.uses())
    ]
    strict = {fires[v][0] == fires[v][1] for v in read}
    if len(strict) != 1:
        return [], False
    picked: dict[ir.Value, None] = {}
    pending = read
    while pending:
        value = pending.pop()
        inputs = [v for v in value.producer().inputs if v is not None and constant(v) is None]
        if all(v in fires and (fires[v][0] == fires[v][1]) in strict for v in inputs):
            pending += inputs
        else:
            picked[value] = None
    return [(v, fires[v][0], fires[v][2]) for v in picked], strict.pop()


def _is_of(node: ir.Node, made: Container[ir.Value]) -> bool:
    """Whether a node computes of such values and constants alone."""
    return is_elementwise(node) and all(
        v is None or v in made or constant(v) is not None for v in node.inputs
    )


def behind(value: ir.Value) -> Iterator[ir.Value]:
    """What a number is made of by elementwise ops up to comparisons, the nearest first."""
    pending, seen = deque([value]), {value}
    while pending:
        value = pending.popleft()
        yield value
        node = value.producer()
        if not is_elementwise(node) or is_threshold(node):
            continue
        new = [v for v in node.inputs if v is not None and v not in seen and constant(v) is None]
        seen.update(new)
        pending += new
