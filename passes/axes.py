"""Which part of which logical axis each axis of a tensor runs over, through any view.

A tensor's axes are tuples of factors, outermost first. A factor is a stretch of a root axis: T
(time), C (channels), Y and X (position), as size and stride within the root. Splitting channels
into heads, merging positions into tokens and permuting axes then are exact bookkeeping.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
