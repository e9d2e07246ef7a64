"""However a network takes its input, it is shown frames [T, 1, C, H, W].

Published networks repeat an image over time themselves, take the batch before time and permute, or
leave the batch out. What compiled code takes is the same for all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT, find_op
from hqc.passes.axes import Axes, Factor, axes, reshape
from hqc.passes.graph import add_initializer, ints

_RESHAPES = {"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"}
_REPEATED = "repeated"


@dataclass(frozen=True)
class _Entry:
    """What the first layer reads: a view of the frames, through nodes that only view them.

    The roots of its axes are the input's axes by number, and `_REPEATED` for copies of an image.
    """

    value: ir.Value
    view: Axes
    nodes: tuple[ir.Node, ...]
    quantizer: ir.Node | None

    @property
    def repeats(self) -> bool:
        """Whether an image is repeated."""
        return any(f.root == _REPEATED for axis in self.view for f in axis)


def take_frames(model: ir.Model) -> ir.Model:
    """Make the input frames [T, 1, C, H, W], in place; their quantizer reads them first.

    Shapes must be known. A network whose input has several recordings, or time behind channels,
    stays as it is, and so does one that reads frames of that shape already.
    """
    frames = model.graph.inputs[0]
    given, entry = frames.shape.numpy(), _follow(frames)
    layout = _layout(given, entry)
    if layout is None or not entry.value.uses():
        return model
    time, frame = layout
    steps = [f.size for axis in entry.view for f in axis if f.root == time]
    shape = (math.prod(steps), 1, *_as_image(frame))
    quantized_first = entry.quantizer is None or entry.quantizer.inputs[0] is frames
    if shape != given or entry.repeats or not quantized_first:
        _show(model.graph, entry, time, shape)
    return model


def _as_image(frame: tuple[int, ...]) -> tuple[int, ...]:
    """[C, H, W] of a frame, of a line [C, L], or of numbers [C]."""
    channels, *positions = frame
    return (channels, *[1] * (2 - len(positions)), *positions)


def is_quantized(frames: ir.Value) -> bool:
    """Whether a network quantizes its input before its first layer."""
    entry = _follow(frames)
    users = (use.node for use in entry.value.uses())
    return entry.quantizer is not None or any(
        (node.domain, node.op_type) == (DIALECT, "QuantUniform") for node in users
    )


def _follow(frames: ir.Value) -> _Entry:
    """The views behind the input, up to the first layer."""
    view = axes(*((str(i), n) for i, n in enumerate(frames.shape.numpy())))
    entry = _Entry(frames, view, (), None)
    while True:
        users = dict.fromkeys(use.node for use in entry.value.uses())
        if len(users) != 1 or entry.value.is_graph_output():
            return entry
        (node,) = users
        following = _through(node, entry)
        if following is None:
            return entry
        entry = following


def _through(node: ir.Node, entry: _Entry) -> _Entry | None:
    """The entry behind a node; None where that is more than a view, or a quantizer of one scale."""
    out, nodes = node.outputs[0], (*entry.nodes, node)
    if out.shape is None or not out.shape.is_static():
        return None
    shape = out.shape.numpy()
    if (node.domain, node.op_type) == (DIALECT, "QuantUniform"):
        if entry.quantizer is not None or math.prod(node.inputs[1].shape.numpy()) != 1:
            return None
        return _Entry(out, entry.view, nodes, node)
    if node.domain or len(node.outputs) > 1:
        return None
    view: Axes | None = None
    if node.op_type in _RESHAPES:
        view = reshape(entry.view, shape)
    elif node.op_type == "Transpose":
        view = tuple(entry.view[i] for i in ints(node, "perm", range(len(shape))[::-1]))
    elif node.op_type in ("Expand", "Tile", "Concat") and not entry.repeats:
        view = _repeated(node, entry, shape)
    return None if view is None else _Entry(out, view, nodes, entry.quantizer)


def _repeated(node: ir.Node, entry: _Entry, shape: tuple[int, ...]) -> Axes | None:
    """The view with copies along one axis that had size 1, or as it is where that had one."""
    if node.op_type == "Concat" and any(v is not entry.value for v in node.inputs):
        return None
    before = entry.value.shape.numpy()
    before = (1,) * (len(shape) - len(before)) + before
    grown = [i for i, (a, b) in enumerate(zip(before, shape, strict=True)) if a != b]
    view = axes(*[None] * (len(shape) - len(entry.view))) + entry.view
    if not grown:
        return view
    if len(grown) != 1 or before[grown[0]] != 1:
        return None
    return tuple(
        (Factor(_REPEATED, n),) if i == grown[0] else axis
        for i, (n, axis) in enumerate(zip(shape, view, strict=True))
    )


def _layout(given: tuple[int, ...], entry: _Entry) -> tuple[str, tuple[int, ...]] | None:
    """The root that is time, and the sizes of a frame; None for more than one recording."""
    rank = len(given)
    if entry.repeats:
        batch, frame = given[: max(rank - 3, 1)], given[max(rank - 3, 1) :]
        if rank == 3 and batch != (1,):
            batch, frame = (), given
        return (_REPEATED, frame) if set(batch) <= {1} else None
    if rank < 2 or rank > 5:
        return None
    if rank == 2 or (rank == 4 and _reads_images(entry)):
        return "0", given[1:]
    if given[1] == 1:
        return "0", given[2:]
    if given[0] == 1:
        return "1", given[2:]
    return None if rank == 5 else ("0", given[1:])


def _reads_images(entry: _Entry) -> bool:
    """Whether the first layer reads the last three axes of an input of four as an image."""
    image = [[f.root for f in axis] for axis in entry.view[-3:]]
    given = [[str(i)] if n > 1 else [] for i, n in enumerate(_sizes(entry))][-3:]
    return image == given


def _sizes(entry: _Entry) -> tuple[int, ...]:
    """The sizes of the network's input."""
    value = entry.nodes[0].inputs[0] if entry.nodes else entry.value
    return value.shape.numpy()


def _show(graph: ir.Graph, entry: _Entry, time: str, shape: tuple[int, ...]) -> None:
    """Give the input that shape, its quantizer, and one view of both for the first layer."""
    frames, used = graph.inputs[0], entry.value
    uses = list(used.uses())  # not those of the views below, where the first layer reads frames
    first = graph[0]
    wanted = used.shape.numpy()
    frames.shape = ir.Shape(shape)
    value = frames

    def add(node: ir.Node, sizes: tuple[int, ...]) -> ir.Value:
        graph.insert_before(first, node)
        (out,) = node.outputs
        out.shape, out.type = ir.Shape(sizes), frames.type
        return out

    def viewed(x: ir.Value, sizes: tuple[int, ...], name: str) -> ir.Value:
        target = add_initializer(graph, np.array(sizes, np.int64), f"{name}.shape")
        return add(ir.node("Reshape", [x, target], name=name), sizes)

    if entry.quantizer is not None:
        old = entry.quantizer
        attributes = {**find_op(old).attributes(old), "axis": 0}
        inputs = [frames, old.inputs[1]]
        made = ir.node(old.op_type, inputs, attributes, domain=DIALECT, name=old.name)
        made.metadata_props.update(old.metadata_props)
        value = add(made, shape)
    factors = [f for axis in entry.view for f in axis]
    in_memory = sorted(factors, key=lambda f: (f.root != time, f.root, -f.stride))
    name = f"{frames.name}/view"
    if factors != in_memory:
        value = viewed(value, tuple(f.size for f in in_memory), f"{name}/factors")
        perm = [in_memory.index(f) for f in factors]
        turned = ir.node("Transpose", [value], {"perm": perm}, name=f"{name}/turned")
        value = add(turned, tuple(f.size for f in factors))
    if value.shape.numpy() != wanted:
        value = viewed(value, wanted, name)
    for use in uses:
        use.node.replace_input_with(use.idx, value)
    graph.remove(list(entry.nodes), safe=True)
