"""Which part of which logical axis each axis of a tensor runs over, through any view.

A tensor's axes are tuples of factors, outermost first. A factor is a stretch of a root axis: T
(time), C (channels), Y and X (position), as size and stride within the root. Splitting channels
into heads, merging positions into tokens and permuting axes then are exact bookkeeping.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from hqc.passes.graph import constant, ints, unsupported

VIEWS = {"Reshape", "Transpose", "Cast"}


@dataclass(frozen=True)
class Factor:
    """`size` indices of a root axis, `stride` apart."""

    root: str
    size: int
    stride: int = 1


Axes = tuple[tuple[Factor, ...], ...]


def axes(*roots: tuple[str, int] | None) -> Axes:
    """Axes that are whole roots, e.g. `axes(("T", 8), None, ("C", 96))`; None has size 1."""
    return tuple(_merged([Factor(*r)] if r else []) for r in roots)


def _merged(factors: Iterable[Factor]) -> tuple[Factor, ...]:
    """The same stretch in as few factors as can be; factors of size 1 vanish."""
    merged: list[Factor] = []
    for f in factors:
        if f.size == 1:
            continue
        if merged and merged[-1].root == f.root and merged[-1].stride == f.size * f.stride:
            f = Factor(f.root, merged.pop().size * f.size, f.stride)
        merged.append(f)
    return tuple(merged)


def flatten(view: Sequence[tuple[Factor, ...]]) -> tuple[Factor, ...]:
    """All factors of consecutive axes, as if merged into one."""
    return _merged(f for axis in view for f in axis)


def size_of(view: Axes, root: str) -> int:
    """How many indices of a root the view's axes run over."""
    return math.prod(f.size for axis in view for f in axis if f.root == root)


def named(view: Axes, channels: Collection[int], outermost: int | None = None) -> Axes | None:
    """Axes of the same sizes, time as it was: all of `channels` are C, what is left are positions.

    Those of an image are Y and X; others are Y, in their order but for the `outermost`. None where
    an axis has time inside of something else, or is to be channels and has time in it.
    """
    steps, rest = [], []
    for i, axis in enumerate(view):
        time = [f.root == "T" for f in axis]
        if time != sorted(time, reverse=True) or (i in channels and any(time)):
            return None
        steps.append(tuple(f for f in axis if f.root == "T"))
        rest.append(math.prod(f.size for f in axis if f.root != "T"))
    image = len(view) == 4 and rest[0] == 1 and set(channels) == {1} and outermost in (None, 2)
    roots = ["C" if i in channels else "X" if image and i == 3 else "Y" for i in range(len(view))]
    inner = dict.fromkeys("CYX", 1)
    found: list[tuple[Factor, ...]] = [()] * len(view)
    for i in sorted(range(len(view)), key=lambda i: (i != outermost, i), reverse=True):
        found[i] = _merged([*steps[i], Factor(roots[i], rest[i], inner[roots[i]])])
        inner[roots[i]] *= rest[i]
    return tuple(found)


def time_in(view: Axes) -> tuple[tuple[Factor, ...], ...]:
    """What of each axis is time."""
    return tuple(tuple(f for f in axis if f.root == "T") for axis in view)


def joined(view: Axes) -> Axes:
    """The axes when time steps are the outermost of Y, as they lie in memory."""
    inner = size_of(view, "Y")
    made = (
        [Factor("Y", f.size, f.stride * inner) if f.root == "T" else f for f in axis]
        for axis in view
    )
    return tuple(map(_merged, made))


def rows_outermost(view: Axes, channels: int) -> Axes:
    """Axes of the same sizes, none of them time: the first is the outermost of Y.

    Of the others, `channels` is C if it is not 0; those of an image are Y and X.
    """
    rest = named(((), *view[1:]), [channels] if channels else [])
    rows = math.prod(f.size for f in view[0])
    return (_merged([Factor("Y", rows, size_of(rest, "Y"))]), *rest[1:])


def rows_as_steps(view: Axes) -> Axes:
    """The axes of `rows_outermost` when its rows are time steps."""
    return (_merged([Factor("T", math.prod(f.size for f in view[0]))]), *view[1:])


def timeless(view: Axes) -> list[int]:
    """The axes that have no time in them."""
    return [i for i, axis in enumerate(view) if "T" not in {f.root for f in axis}]


def resized(view: Axes, axis: int, size: int) -> Axes:
    """The axes after `axis` was cut, joined or repeated to a size: it is still of its root.

    An axis of several roots becomes one of positions, as does one that had size 1.
    """
    roots = {f.root for f in view[axis]}
    outermost = max((f.size * f.stride for f in flatten(view)), default=1)
    if len(roots) == 1:
        made = Factor(*roots, size, min(f.stride for f in view[axis]))
    else:
        made = Factor("Y", size, outermost)
    changed = [(made,) if i == axis else factors for i, factors in enumerate(view)]
    places = [(f.root, f.stride, i, j) for i, fs in enumerate(changed) for j, f in enumerate(fs)]
    inner = dict.fromkeys("TCYX", 1)
    for root, _, i, j in sorted(places):
        f = changed[i][j]
        replaced = Factor(root, f.size, inner[root])
        changed[i] = (*changed[i][:j], replaced, *changed[i][j + 1 :])
        inner[root] *= f.size
    return tuple(map(_merged, changed))


def product(a: Axes, b: Axes, columns: int) -> Axes:
    """The axes of a matrix product: rows of a and columns of b, heads before as either has them.

    Scores of tokens by tokens have the same axis twice; there the columns are what a's were.
    """
    for found in ((*a[:-1], b[-1]), (*b[:-2], a[-2], b[-1])):
        inner = dict.fromkeys("TCYX", 1)
        factors = sorted(flatten(found), key=lambda f: f.stride)
        for f in factors:
            if f.stride != inner[f.root]:
                break
            inner[f.root] *= f.size
        else:
            return found
    return resized(a, len(a) - 1, columns)


def coordinates(view: Axes, root: str) -> np.ndarray:
    """Where along a root the elements of a tensor lie, in its shape without time."""
    total = np.zeros((1,) * len(view), np.int64)
    for i, axis in enumerate(view):
        along = np.zeros(1, np.int64)
        for f in axis:
            if f.root != "T":
                step = np.arange(f.size) * (f.stride if f.root == root else 0)
                along = (along[:, None] + step).reshape(-1)
        total = total + along.reshape([-1 if j == i else 1 for j in range(len(view))])
    return total


def reshape(view: Axes, shape: Sequence[int]) -> Axes | None:
    """The axes after a reshape, None where an axis would not be a whole number of factors."""
    pending = list(reversed(flatten(view)))
    result = []
    for size in map(int, shape):
        taken: list[Factor] = []
        while size > 1:
            if not pending:
                return None
            f = pending.pop()
            if size % f.size == 0:
                size //= f.size
                taken.append(f)
            elif f.size % size == 0:
                inner = f.size // size
                taken.append(Factor(f.root, size, f.stride * inner))
                pending.append(Factor(f.root, inner, f.stride))
                size = 1
            else:
                return None
        result.append(_merged(taken))
    return tuple(result)


def that_reshapes(view: Axes, shape: Sequence[int]) -> Axes:
    """Axes of the same sizes that can be followed through a reshape, if any can.

    Where it would mix parts of the view's own, all but time are channels, in the order they lie in.
    """
    if reshape(view, shape) is not None:
        return view
    channels = named(view, timeless(view))
    return channels if channels and reshape(channels, shape) is not None else view


def spell(view: Axes) -> str:
    """The axes as text: "T 1 C Y*X", and "C/32 C%32" for channels split into heads of 32."""
    whole: dict[str, int] = {}
    for f in flatten(view):
        whole[f.root] = max(whole.get(f.root, 0), f.size * f.stride)

    def factor(f: Factor) -> str:
        outer = f"/{f.stride}" if f.stride > 1 else ""
        inner = f"%{f.size * f.stride}" if f.size * f.stride < whole[f.root] else ""
        return f.root + inner + outer

    return " ".join("*".join(map(factor, axis)) or "1" for axis in view)


def through_view(node: ir.Node, view: Axes) -> Axes:
    """The axes of a view's output. Raises `UnsupportedModelError` where they cannot be followed."""
    if node.op_type == "Cast":
        return view
    if node.op_type == "Transpose":
        return tuple(view[axis] for axis in ints(node, "perm", range(len(view))[::-1]))
    constant_shape = constant(node.inputs[1])
    shape = node.outputs[0].shape.numpy() if constant_shape is None else constant_shape.tolist()
    result = reshape(view, shape)
    if result is None:
        raise unsupported(
            node, f"its input's axes, [{spell(view)}], cannot be followed to {list(shape)}"
        )
    return result
