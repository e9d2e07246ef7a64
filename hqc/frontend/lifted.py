"""One op over all time steps in place of a copy of it for every step."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT, find_op
from hqc.frontend.affine import Affine, Evaluation, Side
from hqc.frontend.first_axis import (
    alike,
    before_views,
    by_first_axis,
    charge_behind,
    equal,
    is_whole,
    only_views,
    shows_frames,
    span,
)
from hqc.passes.graph import add_initializer, constant, integer, ints, reshape

_MEMORYLESS = {"tau": 1.0, "decay_input": 0, "v_threshold": 1.0}
"""Attributes of neurons that are called for each step by itself."""


@dataclass(frozen=True)
class Together:
    """Tensors of single steps, in order, and the axis along which they are joined; None: a sum."""

    parts: tuple[ir.Value, ...]
    axis: int | None


class Lifted:
    """Ops over all time steps in the making, which stand for the copies of a graph's nodes.

    Of parts [b, ...], each of one step, they give [steps * b, ...].
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._nodes: list[ir.Node] = []
        self._copied: dict[ir.Node, ir.Node] = {}
        self._numbers = itertools.count(1)
        self._known: dict[tuple[ir.Value, ...], ir.Value | None] = {}
        self._computed = set(graph.inputs)
        for node in graph:
            if not self._computed.isdisjoint(node.inputs):
                self._computed.update(node.outputs)

    def take(self) -> list[ir.Node]:
        """The nodes that were made since; copies have the names that their originals had."""
        nodes, self._nodes = self._nodes, []
        for made in nodes:
            if made in self._copied:
                self._copied[made].name = f"{made.name}.written"
        return nodes

    def put_together(self, together: Together) -> ir.Value | None:
        """The same tensor, of an op over all steps; None where the parts are no such copies."""
        parts, axis = together.parts, together.axis
        shape = parts[0].shape.numpy()
        if any(p.shape.numpy() != shape or p not in self._computed for p in parts):
            return None
        known = dict(self._known)
        whole = self._all_of(parts)
        if whole is None:
            for node in self._nodes:
                for i in range(len(node.inputs)):
                    node.replace_input_with(i, None)  # or its value would count it as a user
            self._nodes, self._known = [], known
            return None
        steps = self._view(whole, (len(parts), *shape))
        if axis is None:
            return self._reduced("ReduceSum", steps, [0], 0, shape, "sum over time")
        order = (*range(1, axis + 1), 0, *range(axis + 1, len(shape) + 1))
        joined = tuple(n * len(parts) if i == axis else n for i, n in enumerate(shape))
        return self._view(self._turned(steps, order, f"{whole.name}/Transpose"), joined)

    def _put(self, node: ir.Node, shape: Sequence[int], like: ir.Value) -> ir.Value:
        (value,) = node.outputs
        value.shape, value.type = ir.Shape(shape), like.type
        if node not in self._copied:
            node.name = f"{node.name}:{next(self._numbers)}"  # an exporter numbers by _2, too
        value.name = f"{node.name}:all_steps"
        self._nodes.append(node)
        return value

    def _view(self, x: ir.Value, shape: Sequence[int]) -> ir.Value:
        while (node := x.producer()) is not None and not node.domain and node.op_type == "Reshape":
            x = node.inputs[0]
        if x.shape.numpy() == tuple(shape):
            return x
        return self._put(reshape(self._graph, x, shape), shape, x)

    def _turned(self, x: ir.Value, order: Sequence[int], name: str) -> ir.Value:
        if list(order) == sorted(order):
            return x
        node = ir.node("Transpose", [x], {"perm": list(order)}, name=name)
        return self._put(node, [x.shape.numpy()[i] for i in order], x)

    def _reduced(
        self,
        op_type: str,
        x: ir.Value,
        axes: list[int],
        keepdims: int,
        shape: Sequence[int],
        name: str,
    ) -> ir.Value:
        which = add_initializer(self._graph, np.array(axes, np.int64), f"{name}.axes")
        node = ir.node(op_type, [x, which], {"keepdims": keepdims}, name=name)
        return self._put(node, shape, x)

    def _all_of(self, parts: tuple[ir.Value, ...]) -> ir.Value | None:
        """The parts one after the other along their first axis; None where they are no copies."""
        if parts not in self._known:
            self._known[parts] = self._lift(parts) if parts[0].shape else None
        return self._known[parts]

    def _lift(self, parts: tuple[ir.Value, ...]) -> ir.Value | None:
        parts = tuple(before_views(part) for part in parts)
        if len(parts) == 1:
            return parts[0]
        nodes = [part.producer() for part in parts]
        same = all(part is parts[0] for part in parts)
        whole = None
        if all(n is not None for n in nodes) and len({(n.domain, n.op_type) for n in nodes}) == 1:
            whole = None if same else self._in_turn(parts)
            if whole is None and alike(nodes):
                single = all(len(n.outputs) == 1 for n in nodes)
                whole = self._of_copies(nodes) if single else self._of_splits(parts)
        if whole is None and same:
            return self._repeated(parts)
        return self._mixed(parts) if whole is None else whole

    def _mixed(self, parts: tuple[ir.Value, ...]) -> ir.Value | None:
        """Sums of what steps so far gave, each times a number, as a current that decays."""
        zero = Affine(np.float64(0))
        sums = [Evaluation(zero, Side.AT, lambda v: v not in self._computed).of(p) for p in parts]
        shape = parts[0].shape.numpy()
        terms: dict[ir.Value, None] = {}
        for number, total in enumerate(sums, 1):
            if total is None or np.any(total.constant):
                return None
            terms |= dict.fromkeys(total.terms)
            if len(terms) != number:
                return None  # not one more at every step
        if tuple(terms) == parts or any(v.shape.numpy() != shape for v in terms):
            return None
        matrix = [[total.of(v) for v in terms] for total in sums]
        whole = self._all_of(tuple(terms))
        if whole is None or any(np.size(c) > 1 for row in matrix for c in row):
            return None
        steps = len(parts)
        flat = self._view(whole, (steps, math.prod(shape)))
        name = f"{parts[-1].name}/MatMul"
        mixture = add_initializer(self._graph, np.array(matrix, np.float32), f"{name}.past")
        made = ir.node("MatMul", [mixture, flat], name=name)
        return self._view(self._put(made, flat.shape.numpy(), flat), whole.shape.numpy())

    def _repeated(self, parts: tuple[ir.Value, ...]) -> ir.Value | None:
        """The frames at every step, as an image that is shown at each."""
        shape = parts[0].shape.numpy()
        if shape[0] != 1 or not shows_frames(parts[0]):
            return None
        node = ir.node("Concat", parts, {"axis": 0}, name=f"{parts[0].name}/Concat")
        return self._put(node, (len(parts) * shape[0], *shape[1:]), parts[0])

    def _in_turn(self, parts: tuple[ir.Value, ...]) -> ir.Value | None:
        """All of one tensor, in order, as slices of its time axis."""
        spans = [span(part) for part in parts]
        if any(span is None for span in spans):
            return None
        x, axis = parts[0].producer().inputs[0], spans[0][0]
        sizes = x.shape.numpy()
        ends = [0, *(stop for _, _, stop in spans)]
        batch_first = axis == 1 and sizes[0] == 1 and len(sizes) in (3, 5)
        if any(p.producer().inputs[0] is not x for p in parts) or not (axis == 0 or batch_first):
            return None
        if (
            spans != [(axis, *ends[i : i + 2]) for i in range(len(parts))]
            or ends[-1] != sizes[axis]
        ):
            return None
        shape = parts[0].shape.numpy()
        if any(part.shape.numpy() != shape for part in parts):
            return None
        return self._view(x, (len(parts) * shape[0], *shape[1:]))

    def _of_copies(self, nodes: list[ir.Node]) -> ir.Value | None:
        """What nodes of one op and attributes give, each of its own step."""
        first = nodes[0]
        if (first.domain, first.op_type) == (DIALECT, "IntegerLIF"):
            return self._neurons(nodes)
        if (first.domain, first.op_type) == (DIALECT, "LIF"):
            if find_op(first).attributes(first)["tau"] != 1:
                return None
            whole = self._all_of(tuple(n.inputs[0] for n in nodes))
            return None if whole is None else self._copy(first, [whole], len(nodes))
        if first.domain:
            return None
        if only_views(first) or all(is_whole(n.outputs[0]) for n in nodes):
            return self._viewed(nodes)
        if first.op_type in ("Transpose", "ReduceMean", "ReduceSum"):
            return self._with_steps_ahead(nodes)
        inputs = self._operands(nodes)
        if inputs is None or not by_first_axis(first, inputs):
            return None
        return self._copy(first, inputs, len(nodes))

    def _of_splits(self, parts: tuple[ir.Value, ...]) -> ir.Value | None:
        """One of what a Split gives, each of its own step."""
        nodes = [part.producer() for part in parts]
        first, which = nodes[0], parts[0].index()
        rank = len(parts[0].shape)
        sizes = [n.inputs[1:] for n in nodes]
        along_steps = first.op_type != "Split" or integer(first, "axis", 0) % rank == 0
        if along_steps or any(p.index() != which for p in parts) or not equal(sizes):
            return None
        whole = self._all_of(tuple(n.inputs[0] for n in nodes))
        if whole is None:
            return None
        inputs = [whole, *first.inputs[1:]]
        made = ir.Node(
            "", "Split", inputs, first.attributes.values(), num_outputs=len(first.outputs),
            name=first.name,
        )  # fmt: skip
        self._copied[made] = first
        self._nodes.append(made)
        for index, (old, value) in enumerate(zip(first.outputs, made.outputs, strict=True)):
            size, *rest = old.shape.numpy()
            value.shape, value.type = ir.Shape((len(nodes) * size, *rest)), old.type
            value.name = f"{made.name}:{index}:all_steps"
            self._known[tuple(n.outputs[index] for n in nodes)] = value
        return made.outputs[which]

    def _viewed(self, nodes: list[ir.Node]) -> ir.Value | None:
        whole = self._all_of(tuple(n.inputs[0] for n in nodes))
        shape = nodes[0].outputs[0].shape.numpy()
        if whole is None or not shape or any(n.outputs[0].shape.numpy() != shape for n in nodes):
            return None
        return self._view(whole, (len(nodes) * shape[0], *shape[1:]))

    def _with_steps_ahead(self, nodes: list[ir.Node]) -> ir.Value | None:
        """Of [steps, b, ...]: permutations, and reductions of any axes."""
        first, (old,) = nodes[0], nodes[0].outputs
        whole = self._all_of(tuple(n.inputs[0] for n in nodes))
        shape, rank = old.shape.numpy(), len(first.inputs[0].shape)
        if whole is None or not shape or not equal([n.inputs[1:] for n in nodes]):
            return None
        x = self._view(whole, (len(nodes), *first.inputs[0].shape.numpy()))
        if first.op_type == "Transpose":
            perm = ints(first, "perm", range(rank)[::-1])
            made = self._turned(x, [0, *(1 + i for i in perm)], first.name)
        else:
            given = constant(first.inputs[1]) if len(first.inputs) > 1 else None
            if given is None or not given.size:
                return None
            axes = [1 + int(i) % rank for i in given.reshape(-1)]
            keepdims = integer(first, "keepdims", 1)
            sizes = (len(nodes), *shape)
            made = self._reduced(first.op_type, x, axes, keepdims, sizes, first.name)
        return self._view(made, (len(nodes) * shape[0], *shape[1:]))

    def _operands(self, nodes: list[ir.Node]) -> list[ir.Value | None] | None:
        """Parameters as they are, and what is computed of all steps."""
        inputs: list[ir.Value | None] = []
        for values in zip(*(n.inputs for n in nodes), strict=True):
            if any(v in self._computed for v in values):
                inputs.append(self._all_of(values))
                if inputs[-1] is None:
                    return None
            elif equal([(v,) for v in values]):
                inputs.append(values[0])
            else:
                return None
        return inputs

    def _neurons(self, nodes: list[ir.Node]) -> ir.Value | None:
        """Neurons without a memory; or with that of (potential - spikes) * decay."""
        given = find_op(nodes[0]).attributes(nodes[0])
        if any(given[name] != n for name, n in _MEMORYLESS.items()):
            return None
        charges = [
            charge_behind(node.inputs[0], before) for before, node in itertools.pairwise(nodes)
        ]
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
        whole = self._all_of(tuple(inputs))
        if whole is None:
            return None
        made = self._copy(nodes[0], [whole], len(nodes))
        if decay is not None:
            made.producer().attributes["tau"] = ir.AttrFloat32("tau", 1 / (1 - decay))
        return made

    def _copy(self, node: ir.Node, inputs: Sequence[ir.Value | None], steps: int) -> ir.Value:
        """The node on inputs of all steps."""
        made = ir.Node(node.domain, node.op_type, inputs, node.attributes.values(), name=node.name)
        self._copied[made] = node
        made.metadata_props.update(node.metadata_props)
        old = node.outputs[0]
        shape = old.shape.numpy()
        return self._put(made, (steps * shape[0], *shape[1:]), old)
