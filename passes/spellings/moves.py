"""Ops that only move numbers are Gathers, views and permutations."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.passes.graph import constant, integer, ints
from hqc.passes.spellings.spelling import Rewrite, spelling
from hqc.reference import run_reference

_BY_SIZE = ("align_corners", "pytorch_half_pixel")
"""How Resize finds places by the size of what it makes."""

_EXACT = 2**24
"""Up to here float32 tells whole numbers apart."""


def _turned(rewrite: Rewrite, split: list[int], perm: list[int]) -> None:
    """The node's input as axes of those sizes, permuted, then in the output's shape."""
    x = rewrite.reshape(rewrite.node.inputs[0], split, "split")
    turned = rewrite.op("Transpose", [x], [split[i] for i in perm], what="turned", perm=perm)
    rewrite.finish(rewrite.reshape(turned, rewrite.node.outputs[0].shape.numpy(), ""))


@spelling("DepthToSpace")
def depth_to_space(rewrite: Rewrite) -> None:
    """Blocks of channels become blocks of pixels."""
    node = rewrite.node
    size = integer(node, "blocksize", 1)
    n, c, h, w = node.inputs[0].shape.numpy()
    mode = node.attributes["mode"].value if "mode" in node.attributes else "DCR"
    if mode == "DCR":
        _turned(rewrite, [n, size, size, c // size**2, h, w], [0, 3, 4, 1, 5, 2])
    else:
        _turned(rewrite, [n, c // size**2, size, size, h, w], [0, 1, 4, 2, 5, 3])


@spelling("SpaceToDepth")
def space_to_depth(rewrite: Rewrite) -> None:
    """Blocks of pixels become blocks of channels."""
    size = integer(rewrite.node, "blocksize", 1)
    n, c, h, w = rewrite.node.inputs[0].shape.numpy()
    _turned(rewrite, [n, c, h // size, size, w // size, size], [0, 3, 5, 1, 2, 4])


@spelling("Resize", "CenterCropPad", "Pad", "Compress", "Tile")
def taken_along_axes(rewrite: Rewrite) -> None:
    """What takes some indices of each axis, whatever rule it chooses them by -> Gathers.

    The node is run on numbers that say where they are.
    """
    node = rewrite.node
    x, y = node.inputs[0], node.outputs[0]
    if any(v is not None and constant(v) is None for v in node.inputs[1:]):
        return
    if node.op_type == "Resize" and (mode_of(node) != "nearest" or runtimes_differ(node)):
        return
    if len(x.shape) != len(y.shape) or 3 * np.prod(x.shape.numpy()) >= _EXACT:
        return
    wanted = _indices(node)
    if wanted is None:
        return
    value, shape = x, list(x.shape.numpy())
    for axis, indices in enumerate(wanted):
        if len(indices) != shape[axis] or np.any(indices != np.arange(shape[axis])):
            shape[axis] = len(indices)
            which = rewrite.constant(indices.astype(np.int64), f"axis{axis}")
            what = f"along {axis}"
            value = rewrite.op("Gather", [value, which], shape, what=what, axis=axis)
    rewrite.finish(rewrite.op("Identity", [value], shape))


def mode_of(resize: ir.Node) -> str:
    """How it makes numbers of those around a place."""
    return resize.attributes["mode"].value if "mode" in resize.attributes else "nearest"


def runtimes_differ(resize: ir.Node) -> bool:
    """Whether places go by a size that scales give no whole number of pixels for.

    ONNX does not say which size that is, before rounding or after.
    """
    given = resize.attributes.get("coordinate_transformation_mode")
    scales = constant(resize.inputs[2]) if len(resize.inputs) > 2 else None
    if given is None or given.value not in _BY_SIZE or scales is None or not scales.size:
        return False
    sizes = resize.inputs[0].shape.numpy()
    axes = ints(resize, "axes", range(len(sizes)))
    return any((float(s) * sizes[axis]) % 1 for s, axis in zip(scales, axes, strict=True))


def _indices(node: ir.Node) -> list[np.ndarray] | None:
    """Which indices of each axis a node takes; None where it does anything else."""
    sizes = node.inputs[0].shape.numpy()
    count, rng = int(np.prod(sizes)), np.random.default_rng(0)
    found = None
    for run in range(2):
        # In no order, or a mean of neighbours could pass for a number between them; and never the
        # same numbers twice, or what is filled in could pass for one of them.
        first = 1 + run * count
        numbers = (rng.permutation(count) + first).astype(np.float32).reshape(sizes)
        (seen,) = run_reference(alone(node), {"x": numbers})
        seen = seen - first
        if not seen.size or np.any(seen < 0) or np.any(seen != np.round(seen)):
            return None
        if np.any(seen >= count):
            return None
        places = np.argsort(numbers.reshape(-1))[seen.astype(np.int64)]
        if found is not None and not np.array_equal(found, places):
            return None  # zeros are written, or numbers are mixed
        found = places
    coordinates = np.stack(np.unravel_index(found.reshape(-1), sizes))
    coordinates = coordinates.reshape(len(sizes), *found.shape)
    wanted = []
    for axis, along in enumerate(coordinates):
        line = np.moveaxis(along, axis, 0).reshape(found.shape[axis], -1)
        if np.any(line != line[:, :1]):
            return None
        wanted.append(line[:, 0])
    taken = np.arange(count).reshape(sizes)[np.ix_(*wanted)]
    return wanted if np.array_equal(taken, found) else None


def alone(node: ir.Node) -> ir.Model:
    """A model of the node, whose first input is given, in float32."""
    x = ir.Value(name="x", shape=node.inputs[0].shape, type=ir.TensorType(ir.DataType.FLOAT))
    constants = [
        None
        if v is None
        else ir.Value(name=f"constant{i}", const_value=v.const_value, shape=v.shape, type=v.type)
        for i, v in enumerate(node.inputs[1:])
    ]
    copy = ir.Node("", node.op_type, [x, *constants], node.attributes.values())
    copy.outputs[0].name, copy.outputs[0].type = "y", x.type
    graph = ir.Graph(
        [x],
        copy.outputs,
        nodes=[copy],
        initializers=[v for v in constants if v is not None],
        opset_imports=node.graph.opset_imports,
        name="alone",
    )
    return ir.Model(graph, ir_version=10)
