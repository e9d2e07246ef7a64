"""What a module computes step by step, in a loop over time, as one op over all time steps.

A loop that torch unrolls leaves a copy of each layer a step, and a tensor that is put together of
what the steps gave: by Concat, or by ScatterElements into zeros. Where all copies are of one layer,
which reads one step after the other, that layer reads all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT, find_op
from hqc.passes.graph import constant, integer, reshape

_BY_BATCH = {"Conv", "BatchNormalization", "Mul", "Div"}
"""Ops that treat what lies along the first axis one by one."""

_SCALED = {"Mul", "Div"}
"""Of these such that are by one number."""

_MEMORYLESS = {"tau": 1.0, "decay_input": 0, "v_threshold": 1.0}
"""Attributes of neurons that are called for each step by itself."""


def find_steps(graph: ir.Graph) -> list[tuple[ir.Value, ir.Value]]:
    """Tensors that are put together of time steps, and ops over all of them, put before."""
    found = []
    for node in list(graph):
        parts = _parts(node)
        if parts is None or (node.op_type == "Concat" and len(set(parts)) == 1):
            continue
        lifted = _Lifted(graph, node)
        whole = lifted.all_of(parts)
        if whole is None:
            continue
        old = node.outputs[0]
        if whole.shape.numpy() != old.shape.numpy():
            whole = lifted.put(reshape(graph, whole, old.shape.numpy()))
        graph.insert_before(node, lifted.nodes)
        found.append((old, whole))
    return found


def _parts(node: ir.Node) -> list[ir.Value] | None:
    """The tensors [1, ...], or [B, ...], that are put together along the first axis, in order."""
    if node.domain or any(use.node.op_type == "ScatterElements" for use in node.outputs[0].uses()):
        return None  # not the last of a chain
    if node.op_type == "Concat" and integer(node, "axis", 0) == 0:
        return list(node.inputs)
    found: dict[int, ir.Value] = {}
    while node is not None and (node.domain, node.op_type) == ("", "ScatterElements"):
        data, indices, updates = node.inputs
        places = constant(indices)
        reduction = node.attributes.get("reduction")
        if integer(node, "axis", 0) or places is None:
            return None
        if reduction is not None and reduction.value != "none":
            return None
        step = places.flat[0]
        if places.shape != (1, *data.shape.numpy()[1:]) or np.any(places != step):
            return None
        found.setdefault(int(step) % data.shape.numpy()[0], updates)
        steps, node = data.shape.numpy()[0], data.producer()
    if not found or len(found) < steps:
        return None
    return [found[step] for step in range(steps)]


class _Lifted:
    """Ops over all time steps in the making, which stand for the copies of a node's inputs."""

    def __init__(self, graph: ir.Graph, node: ir.Node) -> None:
        self._graph, self._name = graph, node.name
        self.nodes: list[ir.Node] = []

    def put(self, node: ir.Node) -> ir.Value:
        """Add a node."""
        self.nodes.append(node)
        return node.outputs[0]

    def all_of(self, parts: Sequence[ir.Value]) -> ir.Value | None:
        """The parts one after the other along their first axis; None where they are no copies."""
        nodes = [part.producer() for part in parts]
        if len(parts) == 1:
            return parts[0]
        if all(part is parts[0] for part in parts):
            return self._copies(parts)
        if any(n is None for n in nodes) or len({(n.domain, n.op_type) for n in nodes}) > 1:
            return None
        kinds: dict[tuple[str, str], Callable] = {
            ("", "Unsqueeze"): self._views,
            ("", "Reshape"): self._views,
            ("", "Gather"): self._steps,
            ("", "Slice"): self._steps,
            (DIALECT, "IntegerLIF"): self._neurons,
            **{("", op_type): self._layers for op_type in _BY_BATCH},
        }
        take = kinds.get((nodes[0].domain, nodes[0].op_type))
        return None if take is None else take(nodes)

    def _copies(self, parts: Sequence[ir.Value]) -> ir.Value:
        """The same at every step, as an image that is shown at each."""
        made = ir.node("Concat", parts, {"axis": 0}, name=f"{self._name}/copies")
        value, shape = made.outputs[0], parts[0].shape.numpy()
        value.shape, value.type = ir.Shape((len(parts) * shape[0], *shape[1:])), parts[0].type
        value.name = f"{made.name}:out"
        return self.put(made)

    def _views(self, nodes: list[ir.Node]) -> ir.Value | None:
        """Of one recording each, whose order no view of it changes."""
        shapes = {n.outputs[0].shape.numpy() for n in nodes}
        whole = self.all_of([n.inputs[0] for n in nodes]) if len(shapes) == 1 else None
        if whole is None:
            return None
        (shape,) = shapes
        return self.put(reshape(self._graph, whole, (len(nodes) * shape[0], *shape[1:])))

    def _steps(self, nodes: list[ir.Node]) -> ir.Value | None:
        """All steps of one tensor, in order; or the only one of several."""
        x = nodes[0].inputs[0]
        places = [_step(n) for n in nodes]
        if places == [0] * len(nodes) and all(n.inputs[0].shape.numpy()[0] == 1 for n in nodes):
            return self._views(nodes)
        same = all(n.inputs[0] is x for n in nodes)
        if not same or places != list(range(x.shape.numpy()[0])):
            return None
        shape = nodes[0].outputs[0].shape.numpy()
        return self.put(reshape(self._graph, x, (len(nodes) * shape[0], *shape[1:])))

    def _layers(self, nodes: list[ir.Node]) -> ir.Value | None:
        """One layer, of the same parameters."""
        first = nodes[0]
        others = zip(*(n.inputs[1:] for n in nodes), strict=True)
        if not _alike(nodes) or not all(map(_equal, others)):
            return None
        if first.op_type in _SCALED:
            factor = constant(first.inputs[1])
            if factor is None or factor.size > 1 or factor.ndim > len(first.inputs[0].shape):
                return None
        whole = self.all_of([n.inputs[0] for n in nodes])
        return None if whole is None else self._copy(first, whole, len(nodes))

    def _neurons(self, nodes: list[ir.Node]) -> ir.Value | None:
        """Neurons without a memory; or with that of (potential - spikes) * decay."""
        given = find_op(nodes[0]).attributes(nodes[0])
        if not _alike(nodes) or any(given[name] != n for name, n in _MEMORYLESS.items()):
            return None
        charges = [_charge(node.inputs[0], before) for before, node in itertools.pairwise(nodes)]
        decays = {None if charge is None else charge[1] for charge in charges}
        if len(decays) != 1:  # some steps remember, or some for longer
            return None
        decay = decays.pop()
        if decay is None:
            inputs = [node.inputs[0] for node in nodes]
        elif nodes[0].outputs[0].shape.numpy()[0] == 1:
            inputs = [nodes[0].inputs[0], *(charge[0] for charge in charges)]
        else:
            return None
        whole = self.all_of(inputs)
        if whole is None:
            return None
        made = self._copy(nodes[0], whole, len(nodes))
        if decay is not None:
            made.producer().attributes["tau"] = ir.AttrFloat32("tau", 1 / (1 - decay))
        return made

    def _copy(self, node: ir.Node, x: ir.Value, steps: int) -> ir.Value:
        """The node on x, all steps."""
        inputs = [x, *node.inputs[1:]]
        made = ir.Node(node.domain, node.op_type, inputs, node.attributes.values(), name=node.name)
        node.name = f"{node.name}.written"
        made.metadata_props.update(node.metadata_props)
        value, old = made.outputs[0], node.outputs[0]
        shape = old.shape.numpy()
        value.shape, value.type = ir.Shape((steps * shape[0], *shape[1:])), old.type
        value.name = f"{old.name}.all_steps"
        return self.put(made)


def _alike(nodes: Sequence[ir.Node]) -> bool:
    """Whether nodes have the same attributes."""
    given = [{name: a.value for name, a in n.attributes.items()} for n in nodes]
    return all(g == given[0] for g in given)


def _equal(values: Sequence[ir.Value | None]) -> bool:
    """Whether values are one, or constants of the same numbers."""
    if all(v is values[0] for v in values):
        return True
    arrays = [constant(v) for v in values]
    return all(a is not None and np.array_equal(a, arrays[0]) for a in arrays)


def _step(node: ir.Node) -> int | None:
    """Which index of the first axis a node takes, and no other."""
    numbers = [constant(v) for v in node.inputs[1:]]
    if any(n is None or n.size != 1 for n in numbers):
        return None
    if node.op_type == "Gather":
        return None if integer(node, "axis", 0) else int(numbers[0].item())
    start, end, axis, step = (
        int(n.item()) for n in (*numbers, *[np.array(1)] * (4 - len(numbers)))
    )
    return start if (axis, step, end) == (0, 1, start + 1) else None


def _charge(potential: ir.Value, before: ir.Node) -> tuple[ir.Value, float] | None:
    """What is added to (potential - spikes) * decay of the neurons before, and the decay."""
    total = potential.producer()
    if total is None or (total.domain, total.op_type) != ("", "Add"):
        return None
    for kept, added in (total.inputs, total.inputs[::-1]):
        product = kept.producer()
        if product is None or product.op_type != "Mul":
            continue
        left, factor = product.inputs
        decay, rest = constant(factor), left.producer()
        if decay is None or decay.size > 1 or rest is None or rest.op_type != "Sub":
            continue
        if list(rest.inputs) == [before.inputs[0], before.outputs[0]] and 0 < decay.item() < 1:
            return added, float(decay.item())
    return None
