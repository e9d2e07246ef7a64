"""Loops whose number of steps is known are written out, and shapes that are known become constants.

Exporters of scripted modules leave Loop, Scan, If and sequences of tensors; those of networks with
free sizes, arithmetic on shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from hqc.dialect.metadata import STANDS_FOR
from hqc.errors import UnsupportedModelError

_STEPS = 4096
"""Steps at most of a loop that is written out."""

_FOLDED = 4096
"""Numbers at most of an array that is computed here: shapes, indices and conditions."""


def without_control_flow(path: Path, proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same model in ops without graphs inside, on tensors alone.

    Raises `UnsupportedModelError` for a loop whose number of steps is not known.
    """
    if not any(_is_control(node) for node in proto.graph.node):
        return proto
    while any(_is_control(node) for node in proto.graph.node):
        graph = _Graph(proto)
        graph.rewrite()
        _remove_unread(proto.graph)
        if not graph.changed:
            break
    node = next((n for n in proto.graph.node if n.op_type in _LOOPS and _is_control(n)), None)
    if node is not None:
        what = "which branch it takes" if node.op_type == "If" else "how often it runs"
        raise UnsupportedModelError(
            f"{path}: node {node.name!r} ({node.op_type}): {what} is not known before",
            hint="hqc writes loops out: give them a constant number of steps, and let no condition "
            "depend on data",
        )
    return proto


def _remove_unread(graph: onnx.GraphProto) -> None:
    read = {o.name for o in graph.output}
    kept = []
    for node in reversed(graph.node):
        if read.intersection(node.output):
            kept.append(node)
            read.update(node.input)
            read.update(name for inner in _graphs(node) for name in _read_inside(inner))
    del graph.node[:]
    graph.node.extend(reversed(kept))


def _read_inside(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from node.input
        for inner in _graphs(node):
            yield from _read_inside(inner)
    yield from (o.name for o in graph.output)


_LOOPS = ("Loop", "Scan", "If")
_SHAPES = ("Shape", "Size")
_SEQUENCES = (
    *("SequenceEmpty", "SequenceConstruct", "SequenceInsert", "SequenceAt"),
    "ConcatFromSequence",
)


def _is_control(node: onnx.NodeProto) -> bool:
    if any(entry.key == STANDS_FOR for entry in node.metadata_props):
        return False  # of hqc's own writing, and read back with its metadata
    named = (*_LOOPS, *_SHAPES, *_SEQUENCES, "SequenceLength", "SplitToSequence")
    return not node.domain and node.op_type in named


class _Graph:
    """One walk over a graph: what is known by then is written otherwise."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        self._proto, self.changed = proto, False
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
        values = (*inferred.value_info, *inferred.input, *inferred.output)
        self._shapes = {v.name: s for v in values if (s := _static(v)) is not None}
        self._known: dict[str, np.ndarray] = {}
        for tensor in proto.graph.initializer:
            self._shapes[tensor.name] = list(tensor.dims)
            if np.prod(tensor.dims) <= _FOLDED and not tensor.external_data:
                self._known[tensor.name] = numpy_helper.to_array(tensor)
        self._sequences: dict[str, list[str]] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._count = 0

    def rewrite(self) -> None:
        """Replace the graph's nodes."""
        graph = self._proto.graph
        for node in list(graph.node):
            self._visit(node)
        del graph.node[:]
        graph.node.extend(self._nodes)

    def _visit(self, node: onnx.NodeProto) -> None:
        rules: dict[str, Callable[[onnx.NodeProto], bool]] = {
            "Constant": self._constant,
            "Identity": self._identity,
            "If": self._if,
            "Loop": self._loop,
            "Scan": self._scan,
            "Shape": self._shape,
            "Size": self._size,
            "SplitToSequence": self._split,
            "SequenceLength": self._length,
            **dict.fromkeys(_SEQUENCES, self._sequence),
        }
        left = node.domain or (node.op_type in _LOOPS and not _is_control(node))
        if left or not rules.get(node.op_type, self._fold)(node):
            self._nodes.append(node)
        else:
            self.changed = True

    def _replace(self, node: onnx.NodeProto, array: np.ndarray) -> bool:
        self._known[node.output[0]] = array
        value = numpy_helper.from_array(np.ascontiguousarray(array))
        self._nodes.append(
            helper.make_node("Constant", [], [node.output[0]], name=node.name, value=value)
        )
        return True

    def _add(self, op_type: str, inputs: Sequence[str], output: str, **attributes) -> None:
        self._count += 1
        name = f"{output}/{op_type}{self._count}"
        self._visit(helper.make_node(op_type, inputs, [output], name=name, **attributes))

    def _indices(self, numbers: Sequence[int] | int) -> str:
        """The name of a constant."""
        self._count += 1
        name = f"hqc.constant{len(self._proto.graph.initializer)}_{self._count}"
        array = np.array(numbers, np.int64)
        self._proto.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def _constant(self, node: onnx.NodeProto) -> bool:
        for attribute in node.attribute:
            if attribute.name == "value" and np.prod(attribute.t.dims) <= _FOLDED:
                self._known[node.output[0]] = numpy_helper.to_array(attribute.t)
            elif attribute.name in ("value_int", "value_ints", "value_float", "value_floats"):
                array = np.array(helper.get_attribute_value(attribute))
                kind = np.int64 if "int" in attribute.name else np.float32
                self._known[node.output[0]] = array.astype(kind)
        return False

    def _shape(self, node: onnx.NodeProto) -> bool:
        shape = self._shapes.get(node.input[0])
        if shape is None:
            return False
        ends = {a.name: a.i for a in node.attribute}
        part = shape[slice(ends.get("start", 0), ends.get("end", len(shape)))]
        return self._replace(node, np.array(part, np.int64))

    def _size(self, node: onnx.NodeProto) -> bool:
        shape = self._shapes.get(node.input[0])
        return shape is not None and self._replace(node, np.array(np.prod(shape), np.int64))

    def _fold(self, node: onnx.NodeProto) -> bool:
        """What is computed from known integers and conditions alone; not what codes stand for."""
        if len(node.output) != 1 or not node.input or node.output[0] in self._known:
            return False
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            return False
        arrays = [self._known.get(name) for name in node.input if name]
        if any(a is None for a in arrays) or not any(a.dtype.kind in "iub" for a in arrays):
            return False
        if any(a.dtype.kind not in "iub" and a.size > 1 for a in arrays):
            return False
        names = [name for name in node.input if name]
        model = helper.make_model(
            helper.make_graph(
                [node],
                "known",
                [helper.make_empty_tensor_value_info(n) for n in names],
                [helper.make_empty_tensor_value_info(node.output[0])],
            ),
            opset_imports=self._proto.opset_import,
        )
        (result,) = ReferenceEvaluator(model).run(None, dict(zip(names, arrays, strict=True)))
        found = np.asarray(result)
        return found.size <= _FOLDED and self._replace(node, found)

    def _if(self, node: onnx.NodeProto) -> bool:
        condition = self._known.get(node.input[0])
        if condition is None:
            return False
        wanted = "then_branch" if condition.item() else "else_branch"
        body = next(a.g for a in node.attribute if a.name == wanted)
        made = self._copy(node, body, {}, 0)
        for name, output in zip(made, node.output, strict=True):
            self._add("Identity", [name], output)
        return True

    def _scan(self, node: onnx.NodeProto) -> bool:
        given: dict[str, Any] = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        body, inputs = given["body"], given["num_scan_inputs"]
        states = len(node.input) - inputs
        scanned = list(node.input[states:])
        axes: list[int] = list(given.get("scan_input_axes", [0] * inputs))
        backwards = list(given.get("scan_input_directions", [0] * inputs))
        shapes = [self._shapes.get(name) for name in scanned]
        lengths = {s[axis] for s, axis in zip(shapes, axes, strict=True) if s}
        if len(lengths) != 1:
            return False
        (steps,) = lengths
        _check_steps(node, steps)
        carried = list(node.input[:states])
        outputs = len(node.output) - states
        collected: list[list[str]] = [[] for _ in range(outputs)]
        for step in range(steps):
            parts = []
            for name, axis, backward in zip(scanned, axes, backwards, strict=True):
                part = self._unused(f"{name}/{step}")
                index = self._indices(steps - 1 - step if backward else step)
                self._add("Gather", [name, index], part, axis=axis)
                parts.append(part)
            bindings = dict(zip((i.name for i in body.input), (*carried, *parts), strict=True))
            made = self._copy(node, body, bindings, step)
            carried = made[:states]
            for values, name in zip(collected, made[states:], strict=True):
                values.append(name)
        axes = list(given.get("scan_output_axes", [0] * outputs))
        backwards = list(given.get("scan_output_directions", [0] * outputs))
        ends = [v[::-1] if b else v for v, b in zip(collected, backwards, strict=True)]
        self._finish(node, carried, ends, axes)
        return True

    def _loop(self, node: onnx.NodeProto) -> bool:
        body = node.attribute[0].g
        count, condition = (self._known.get(n) if n else None for n in node.input[:2])
        if count is None or (node.input[1] and (condition is None or not condition.item())):
            return False
        if not self._goes_on(body):
            return False
        _check_steps(node, int(count.item()))
        carried = list(node.input[2:])
        outputs = len(node.output) - len(carried)
        collected: list[list[str]] = [[] for _ in range(outputs)]
        always = self._unused(f"{node.name}/true")
        true = numpy_helper.from_array(np.array(True), always)
        self._proto.graph.initializer.append(true)
        for step in range(int(count.item())):
            given = (self._indices(step), always, *carried)
            bindings = dict(zip((i.name for i in body.input), given, strict=True))
            made = self._copy(node, body, bindings, step)[1:]
            carried = made[: len(carried)]
            for values, name in zip(collected, made[len(carried) :], strict=True):
                values.append(name)
        self._finish(node, carried, collected, [0] * outputs)
        return True

    def _goes_on(self, body: onnx.GraphProto) -> bool:
        """Whether a loop's condition stays true: it is constant, or what it was."""
        name = body.output[0].name
        if name == body.input[1].name:
            return True
        for tensor in body.initializer:
            if tensor.name == name:
                return bool(numpy_helper.to_array(tensor).item())
        node = next((n for n in body.node if name in n.output), None)
        if node is None:
            known = self._known.get(name)
            return known is not None and bool(known.item())
        if node.op_type == "Constant":
            return bool(numpy_helper.to_array(node.attribute[0].t).item())
        if node.op_type not in ("Identity", "Cast"):
            return False
        before = onnx.GraphProto()
        before.CopyFrom(body)
        before.output[0].name = node.input[0]
        return self._goes_on(before)

    def _finish(
        self,
        node: onnx.NodeProto,
        carried: Sequence[str],
        collected: Sequence[list[str]],
        axes: Sequence[int],
    ) -> None:
        for name, output in zip(carried, node.output, strict=False):
            if output:
                self._add("Identity", [name], output)
        for names, axis, output in zip(collected, axes, node.output[len(carried) :], strict=True):
            if output:
                self._join(names, output, axis, new_axis=True)

    def _join(self, names: Sequence[str], output: str, axis: int, new_axis: bool) -> None:
        parts = list(names)
        if new_axis:
            at = self._indices([axis])
            parts = [self._unused(f"{output}/{i}") for i in range(len(names))]
            for name, part in zip(names, parts, strict=True):
                self._add("Unsqueeze", [name, at], part)
        self._add("Concat", parts, output, axis=axis)

    def _copy(
        self, node: onnx.NodeProto, body: onnx.GraphProto, given: Mapping[str, str], step: int
    ) -> list[str]:
        """The body's nodes, in a step of their own; what its outputs are called there."""
        names = dict(given)
        own = next(name for name in node.output if name)  # no other node has it, as it may the name
        for name in _defined(body):
            names.setdefault(name, f"{own}/{name}/{step}")
        for tensor in body.initializer:
            made = self._proto.graph.initializer.add()
            made.CopyFrom(tensor)
            made.name = names[tensor.name]
        for inner in body.node:
            made = onnx.NodeProto()
            made.CopyFrom(inner)
            _rename(made, names)
            made.name = f"{node.name}/{inner.name or inner.output[0]}"
            self._visit(made)
        return [names.get(o.name, o.name) for o in body.output]

    def _unused(self, name: str) -> str:
        self._count += 1
        return f"{name}/hqc{len(self._proto.graph.initializer)}_{self._count}"

    def _identity(self, node: onnx.NodeProto) -> bool:
        if node.input[0] in self._sequences:
            self._sequences[node.output[0]] = self._sequences[node.input[0]]
        return self._fold(node)

    def _sequence(self, node: onnx.NodeProto) -> bool:
        """Sequences are lists of names; what makes them is left, and goes when nothing reads it."""
        if node.op_type == "SequenceEmpty":
            self._sequences[node.output[0]] = []
            return False
        if node.op_type == "SequenceConstruct":
            self._sequences[node.output[0]] = list(node.input)
            return False
        names = self._sequences.get(node.input[0])
        if names is None:
            return False
        if node.op_type == "ConcatFromSequence":
            given = {a.name: a.i for a in node.attribute}
            self._join(names, node.output[0], given["axis"], bool(given.get("new_axis", 0)))
            return True
        if node.op_type == "SequenceAt":
            place = self._known.get(node.input[1])
            if place is None:
                return False
            self._add("Identity", [names[int(place.item())]], node.output[0])
            return True
        at = self._known.get(node.input[2]) if len(node.input) > 2 else np.array(len(names))
        if at is not None:
            where = int(at.item())
            self._sequences[node.output[0]] = [*names[:where], node.input[1], *names[where:]]
        return False

    def _length(self, node: onnx.NodeProto) -> bool:
        names = self._sequences.get(node.input[0])
        return names is not None and self._replace(node, np.array(len(names), np.int64))

    def _split(self, node: onnx.NodeProto) -> bool:
        shape = self._shapes.get(node.input[0])
        given = {a.name: a.i for a in node.attribute}
        if shape is None or len(node.input) > 1:
            return False
        axis = given.get("axis", 0)
        parts = [self._unused(f"{node.output[0]}/{i}") for i in range(shape[axis])]
        for index, part in enumerate(parts):
            at = self._indices(index if not given.get("keepdims", 1) else [index])
            self._add("Gather", [node.input[0], at], part, axis=axis)
        self._sequences[node.output[0]] = parts
        return False


def _check_steps(node: onnx.NodeProto, steps: int) -> None:
    if not 0 < steps <= _STEPS:
        raise UnsupportedModelError(
            f"node {node.name!r} ({node.op_type}): it runs {max(steps, 0)} times",
            hint=f"hqc writes loops out, of 1 to {_STEPS} steps",
        )


def _static(value: onnx.ValueInfoProto) -> list[int] | None:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    dims = [d.dim_value if d.HasField("dim_value") else 0 for d in kind.shape.dim]
    return dims if all(dims) else None


def _defined(graph: onnx.GraphProto) -> Iterator[str]:
    """Names that a body gives, those of graphs inside it too."""
    yield from (t.name for t in graph.initializer)
    for node in graph.node:
        yield from (name for name in node.output if name)
        for inner in _graphs(node):
            yield from (i.name for i in inner.input)
            yield from _defined(inner)


def _graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    for values in (node.input, node.output):
        for i, name in enumerate(values):
            values[i] = names.get(name, name)
    for graph in _graphs(node):
        for value in (*graph.input, *graph.output, *graph.initializer):
            value.name = names.get(value.name, value.name)
        for inner in graph.node:
            _rename(inner, names)
