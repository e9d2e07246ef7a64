"""Nodes without a memory: the ends of a graph, products, convolutions, pools and views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hqc.importers.nir.builder import Builder, Tensor, lowers
from hqc.importers.nir.conventions import QUANTIZER
from hqc.importers.nir.network import Node

_LARGEST_RANK = 3
"""Of a NIR shape: [C, H, W]."""


@lowers("Input")
def input_(b: Builder, node: Node, x: Tensor | None) -> Tensor:
    """The frames; of a graph in a graph what leads to it."""
    if x is not None:
        return x
    (said,) = node.said.input_type.values()
    if said is None:
        raise node.refused("it has no shape", "give it one, without time and batch: [C, H, W]")
    shape = _shape(node, said)
    if len(shape) == _LARGEST_RANK + 1 and shape[0] == 1:
        shape = shape[1:]  # Norse writes the batch with it
    if not 1 <= len(shape) <= _LARGEST_RANK or min(shape) < 1:
        raise node.refused(
            f"its shape is {list(shape)}", "hqc takes [N], [C, L] and [C, H, W], without time"
        )
    return b.begin(node.name, shape, node.said.metadata.get(QUANTIZER))


@lowers("Output")
def output(b: Builder, node: Node, x: Tensor) -> Tensor:
    """What leads to it, of which the graph's own Output is summed over time."""
    (said,) = node.said.output_type.values()
    if said is not None and math.prod(_shape(node, said)) != math.prod(x.shape):
        raise node.refused(
            f"its shape is {np.asarray(said).tolist()}, and {list(x.shape)} leads to it",
            "are the shapes without time and batch?",
        )
    return x


@lowers("Affine", "Linear")
def linear(b: Builder, node: Node, x: Tensor) -> Tensor:
    """A product with [out, in] along the last axis."""
    x, weight = b.settled(x), node.array("weight")
    if weight.ndim != 2 or weight.shape[1] != x.shape[-1]:
        raise node.refused(
            f"its weight is {list(weight.shape)}, and it reads {list(x.shape)}",
            "weights are [out, in]; is a Flatten missing before it?",
        )
    shape = (*x.shape[:-1], weight.shape[0])
    bias = _bias(node, weight.shape[0])
    if len(x.shape) == 1:
        inputs = [x.name, b.weights(node, weight), *_given(b, node, bias)]
        return b.op("Gemm", inputs, shape, node.name, transB=1)
    turned = b.op("Transpose", [b.weights(node, weight)], (), f"{node.name}.weight/T", perm=[1, 0])
    made = b.op("MatMul", [x.name, turned.name], shape, node.name)
    if not bias.any():
        return made
    inputs = [made.name, *_given(b, node, bias)]
    return b.op("Add", inputs, shape, f"{node.name}/bias")


@lowers("Scale")
def scale(b: Builder, node: Node, x: Tensor) -> Tensor:
    """A factor a neuron."""
    return b.scaled(b.settled(x), node.each("scale", x.shape), node.name)


@lowers("Conv1d", "Conv2d")
def convolution(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Windows of one or two axes, zeros around."""
    rank = 1 if node.kind == "Conv1d" else 2
    x = _image(b, node, x, rank)
    weight, groups = node.array("weight"), _sizes(node, "groups", 1, 1)[0]
    inputs = x.shape[0] / groups
    if weight.ndim != rank + 2 or weight.shape[1] != inputs or weight.shape[0] % groups:
        raise node.refused(
            f"its weight is {list(weight.shape)} in {groups} groups, and it reads {list(x.shape)}",
            "weights are [out, in / groups, *window]",
        )
    window = weight.shape[2:]
    strides = _sizes(node, "stride", rank, 1)
    dilations = _sizes(node, "dilation", rank, 1)
    reach = [d * (k - 1) for k, d in zip(window, dilations, strict=True)]
    before, after = _padding(node, reach, strides)
    shape = _windows(node, x.shape[1:], before, after, [r + 1 for r in reach], strides)
    bias = _bias(node, weight.shape[0])
    return b.op(
        "Conv",
        [x.name, b.weights(node, weight), *_given(b, node, bias)],
        (weight.shape[0], *shape),
        node.name,
        kernel_shape=window,
        strides=strides,
        dilations=dilations,
        pads=[*before, *after],
        group=groups,
    )


@lowers("SumPool2d")
def sum_pool(b: Builder, node: Node, x: Tensor) -> Tensor:
    """A window of ones on each channel, which is exact, as a mean times its size is not."""
    x = _image(b, node, x, 2)
    window, strides, pads, shape = _pool(node, x)
    ones = b.constant(np.ones((x.shape[0], 1, *window)), f"{node.name}.ones")
    attributes = {"bits": 2, "signed": 1, "narrow": 1, "axis": 0}
    codes = b.quantized("QuantUniform", ones, 1.0, f"{node.name}.ones/QuantUniform", attributes)
    options: dict[str, Any] = {"kernel_shape": window, "strides": strides, "pads": [*pads, *pads]}
    inputs = [x.name, codes]
    return b.op("Conv", inputs, (x.shape[0], *shape), node.name, group=x.shape[0], **options)


@lowers("AvgPool2d")
def average_pool(b: Builder, node: Node, x: Tensor) -> Tensor:
    """A mean over windows, zeros around counted with them."""
    x = _image(b, node, x, 2)
    window, strides, pads, shape = _pool(node, x)
    options: dict[str, Any] = {"kernel_shape": window, "strides": strides, "pads": [*pads, *pads]}
    inner = (x.shape[0], *shape)
    return b.op("AveragePool", [x.name], inner, node.name, count_include_pad=1, **options)


@lowers("Flatten")
def flatten(b: Builder, node: Node, x: Tensor) -> Tensor:
    """Axes from `start_dim` to `end_dim`, time and batch not counted, as one."""
    x, rank = b.settled(x), len(x.shape)
    first, last = (_sizes(node, key, 1, -rank)[0] for key in ("start_dim", "end_dim"))
    start, end = (n + rank if n < 0 else n for n in (first, last))
    if rank == 1 and start in (0, 1):
        return x
    if not 0 <= start <= end < rank:
        raise node.refused(
            f"axes {first} to {last} are none of {list(x.shape)}", "neither time nor batch count"
        )
    shape = (*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :])
    return b.viewed(x, shape, node.name)


def _shape(node: Node, said: object) -> tuple[int, ...]:
    sizes = np.asarray(said).reshape(-1)
    if sizes.dtype.kind not in "iuf" or (sizes != np.round(sizes)).any():
        raise node.refused(f"its shape is {np.asarray(said).tolist()}, no whole numbers")
    return tuple(int(n) for n in sizes)


def _bias(node: Node, outputs: int) -> np.ndarray:
    if getattr(node.said, "bias", None) is None:
        return np.zeros(outputs)
    bias = node.array("bias")
    if bias.shape != (outputs,):
        raise node.refused(f"its bias is {list(bias.shape)}, not [{outputs}]")
    return bias


def _given(b: Builder, node: Node, bias: np.ndarray) -> list[str]:
    """A bias as an operand, if it does anything."""
    return [b.constant(bias, f"{node.name}.bias")] if bias.any() else []


def _image(b: Builder, node: Node, x: Tensor, rank: int) -> Tensor:
    """Channels and as many axes of positions as the window has."""
    x = b.settled(x)
    if len(x.shape) != rank + 1:
        wanted = "[C, L]" if rank == 1 else "[C, H, W]"
        raise node.refused(f"it reads {list(x.shape)}, not {wanted}")
    return x


def _sizes(node: Node, field: str, rank: int, least: int) -> list[int]:
    """A whole number for each axis of a window; one stands for all."""
    numbers = node.array(field).reshape(-1)
    whole = numbers.size in (1, rank) and (numbers == np.round(numbers)).all()
    if not whole or numbers.min() < least:
        raise node.refused(
            f"its {field} is {np.asarray(getattr(node.said, field)).tolist()}",
            f"it must be {rank} whole numbers of at least {least}",
        )
    return [int(n) for n in np.broadcast_to(numbers, rank)]


def _padding(
    node: Node, reach: Sequence[int], strides: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Zeros before and behind each axis; "same" has what is odd behind, as torch does."""
    said = node.said.padding
    if not isinstance(said, str):
        pads = _sizes(node, "padding", len(reach), 0)
        return pads, pads
    if said == "same" and set(strides) == {1}:
        return [r // 2 for r in reach], [r - r // 2 for r in reach]
    if said == "valid":
        return [0] * len(reach), [0] * len(reach)
    raise node.refused(
        f"its padding is {said!r}, its stride {list(strides)}",
        "write numbers, 'valid', or with a stride of 1 'same'",
    )


def _pool(node: Node, x: Tensor) -> tuple[list[int], list[int], list[int], list[int]]:
    """Window, strides, zeros around, and the positions that are left."""
    window, strides = (_sizes(node, key, 2, 1) for key in ("kernel_size", "stride"))
    pads = _sizes(node, "padding", 2, 0)
    return window, strides, pads, _windows(node, x.shape[1:], pads, pads, window, strides)


def _windows(
    node: Node,
    sizes: Sequence[int],
    before: Sequence[int],
    after: Sequence[int],
    extent: Sequence[int],
    strides: Sequence[int],
) -> list[int]:
    """How many windows fit along each axis."""
    axes = zip(sizes, before, after, extent, strides, strict=True)
    found = [(n + a + b - k) // s + 1 for n, a, b, k, s in axes]
    if min(found) < 1:
        raise node.refused(f"its window of {list(extent)} does not fit {list(sizes)}")
    return found
