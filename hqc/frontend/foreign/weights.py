"""Constants that a quantizer gives: weights as our codes, anything else as floats."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT, find_op
from hqc.dialect.metadata import STANDS_FOR
from hqc.dialect.quant_pow2 import magnitudes
from hqc.dialect.quant_uniform import along, code_range
from hqc.errors import VerificationError
from hqc.frontend.foreign.registry import Rewriting
from hqc.passes.graph import integer, unsupported

_WEIGHTS = {"Conv": (1,), "Gemm": (0, 1), "MatMul": (0, 1)}
_VIEWS = {"Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze"}

_STORED = (2, 4, 8, 16)
"""Bits that codes take where they are stored."""


@dataclass(frozen=True)
class Codes:
    """Whole numbers, and the scale of each, both of one shape: a weight is their product.

    `axis` is the one that scales are said to go by, `bits` what is said of the codes' width.
    """

    codes: np.ndarray
    scale: np.ndarray
    axis: int | None = None
    bits: int | None = None
    signed: int | None = None
    narrow: int | None = None

    @property
    def values(self) -> np.ndarray:
        """The weights."""
        return self.codes.astype(np.float32) * self.scale

    def part(self, where: tuple[slice, ...]) -> Codes:
        """Some of them."""
        return replace(self, codes=self.codes[where], scale=self.scale[where])


def read_constant(node: ir.Node, found: Codes, rewriting: Rewriting) -> None:
    """Put weights in place of a node that dequantizes constants.

    What no layer reads as its weights, a bias say, becomes floats. Raises `UnsupportedModelError`
    where no scale a channel, and no split of the layer, gives the same weights.
    """
    value, found = _squeezed(node.outputs[0], found, rewriting)
    layers = _layers(value)
    coded = _coded(found, _outputs_axes(layers)) if found.codes.ndim else None
    is_ours = coded is not None and _said(node, coded) is not None
    if not is_ours and (not layers or not found.codes.ndim):
        folded = rewriting.constant(found.values, f"{node.name}.folded")
        rewriting.replace(value.producer(), folded)
        return
    if coded is not None:
        rewriting.replace(value.producer(), _quantizer(node, coded, found, rewriting, node.name))
        return
    blocks = _blocks(found, layers)
    if blocks is None:
        raise unsupported(
            node,
            f"the scales of its weights {list(found.codes.shape)} differ along several axes",
            "quantize weights with one scale, or one for each output channel",
        )
    axis, runs = blocks
    parts = []
    for number, run in enumerate(runs):
        part = found.part(_at(axis, run))
        coded, name = _coded(part, _outputs_axes(layers)), f"{node.name}.{number}"
        parts.append(_quantizer(node, coded, part, rewriting, name))
    for layer in layers:
        _split(layer, runs, parts, rewriting)


def _squeezed(value: ir.Value, found: Codes, rewriting: Rewriting) -> tuple[ir.Value, Codes]:
    """The value behind a Squeeze that alone reads it, and its codes."""
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output():
        return value, found
    node = uses[0].node
    axes = node.inputs[1] if len(node.inputs) > 1 else None
    if node.domain or node.op_type != "Squeeze" or axes is None:
        return value, found
    if not rewriting.constants.is_constant(axes):
        return value, found
    gone = {int(a) % found.codes.ndim for a in rewriting.constants.array(axes).reshape(-1)}
    codes, scale = (np.squeeze(a, tuple(gone)) for a in (found.codes, found.scale))
    axis = found.axis
    if axis is not None:
        axis = None if axis in gone else axis - sum(a < axis for a in gone)
    return node.outputs[0], replace(found, codes=codes, scale=scale, axis=axis)


def _layers(value: ir.Value) -> list[ir.Node]:
    """The layers that read a value, or a view of it, as their weights."""
    layers: list[ir.Node] = []
    for use in value.uses():
        if use.node.domain:
            continue
        if use.idx in _WEIGHTS.get(use.node.op_type, ()):
            layers.append(use.node)
        elif use.node.op_type in _VIEWS and use.idx == 0:
            layers += _layers(use.node.outputs[0])
    return layers


@dataclass(frozen=True)
class _Coded:
    """Codes with one scale, or one for each channel of an axis."""

    codes: np.ndarray
    scale: np.ndarray
    axis: int


def _outputs_axes(layers: list[ir.Node]) -> set[int] | None:
    """The axes of a layer's outputs in its weights; None where views lie between."""
    axes: set[int] = set()
    for layer in layers:
        weights = layer.inputs[1]
        is_view = weights.producer() is not None and weights.producer().op_type in _VIEWS
        if is_view or (layer.op_type == "MatMul" and len(layers) > 1):
            return None
        if layer.op_type == "Conv":
            axes.add(0)
        elif layer.op_type == "Gemm":
            axes.add(1 - integer(layer, "transB", 0))
        else:
            axes.add(-1)
    return axes


def _coded(found: Codes, outputs: set[int] | None) -> _Coded | None:
    """Weights with one scale or one a channel, and codes of at most 16 bits; None for others.

    Where scales differ within a channel, and are whole multiples of the least, the codes take them
    in. Channels are those of the axis that the file names, or of `outputs`, if these are known.
    """
    sign = np.where(found.scale < 0, -1, 1)
    codes = np.where(found.scale == 0, 0, found.codes * sign)
    scale = np.where(found.scale == 0, np.float32(1), np.abs(found.scale))
    each = range(codes.ndim) if outputs is None else {a % codes.ndim for a in outputs}
    axes = [*([] if found.axis is None else [found.axis]), None, *each]
    for finer in (False, True):
        for axis in axes:
            made = _along(codes, scale, axis, finer)
            if made is not None and np.array_equal(_values(made), found.values):
                return made
    return None


def _along(codes: np.ndarray, scale: np.ndarray, axis: int | None, finer: bool) -> _Coded | None:
    others = tuple(i for i in range(codes.ndim) if i != axis)
    used = np.where(codes == 0, np.inf, scale)  # the scale of a zero says nothing
    least = used.min(others, keepdims=True)
    least = np.where(np.isfinite(least), least, scale.min(others, keepdims=True))
    least = least.astype(np.float32)
    if finer:
        factors = np.round(scale / least)
        codes = codes * factors
    low, high = codes.min(initial=0), codes.max(initial=0)
    if not any(_fits(_STORED[-1], signed, 0, low, high) for signed in (0, 1)):
        return None
    return _Coded(codes, least.reshape(-1), 0 if axis is None else axis)


def _values(coded: _Coded) -> np.ndarray:
    return coded.codes.astype(np.float32) * along(coded.axis, coded.scale, coded.codes.ndim)


def _quantizer(
    node: ir.Node, coded: _Coded, found: Codes, rewriting: Rewriting, name: str
) -> ir.Value:
    """A quantizer that gives these weights, in the fewest bits."""
    op_type, scale, attributes = _said(node, coded) or _fewest(coded, found)
    values, axis = _values(coded), coded.axis if coded.scale.size > 1 else 0
    inputs = [
        rewriting.constant(values, f"{name}.weight"),
        rewriting.constant(scale, f"{name}.scale"),
    ]
    made = ir.node(op_type, inputs, {**attributes, "axis": axis}, domain=DIALECT, name=name)
    if not _gives(op_type, scale, {**attributes, "axis": axis}, values):
        raise VerificationError(f"{name!r} is not what hqc reads it as, a {op_type}")
    if node.name == name:
        node.name = f"{name}.written"
    return rewriting.insert(node, made)


def _gives(op_type: str, scale: np.ndarray, attributes: dict, values: np.ndarray) -> bool:
    op = find_op(ir.node(op_type, [], domain=DIALECT))
    return np.array_equal(op.reference(values, scale, **attributes), values)


def _said(node: ir.Node, coded: _Coded) -> tuple[str, np.ndarray, dict] | None:
    """What the file's metadata says that the quantizer was, if it gives these weights."""
    try:
        said = json.loads(node.metadata_props[STANDS_FOR])
        op_type, attributes = said.pop("op_type"), {k: int(v) for k, v in said.items()}
        op = find_op(ir.node(op_type, [], domain=DIALECT))
        if op is None or not op_type.startswith("Quant") or op.check(attributes):
            return None
        scale = coded.scale
        if op_type == "QuantPow2":
            scale = scale * np.float32(2.0 ** (magnitudes(attributes["bits"]) - 1))
        axis = coded.axis if scale.size > 1 else 0
        gives = _gives(op_type, scale, {**attributes, "axis": axis}, _values(coded))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return (op_type, scale, attributes) if gives else None


def _fewest(coded: _Coded, found: Codes) -> tuple[str, np.ndarray, dict]:
    """The quantizer that stores the weights in the fewest bits.

    As many as the file says are kept, where fewer would not be stored in less.
    """
    low, high = coded.codes.min(initial=0), coded.codes.max(initial=0)
    signed = found.signed if found.signed is not None and low >= 0 else 1
    signed = int(signed and _fits(_STORED[-1], 1, 0, low, high))
    fitting = (b for b in range(2, 17) if _fits(b, signed, 0, low, high))
    needed = next(fitting)
    bits = next(b for b in _STORED if b >= needed)
    if found.bits is not None and 2 <= found.bits <= 16 and found.bits >= needed:
        bits = found.bits
    power = _powers(coded, bits)
    if power is not None:
        return power
    narrow = found.narrow if signed else 0
    if narrow is None or not _fits(bits, signed, narrow, low, high):
        narrow = int(bool(signed) and _fits(bits, signed, 1, low, high))
    return "QuantUniform", coded.scale, {"bits": bits, "signed": signed, "narrow": narrow}


def _fits(bits: int, signed: int, narrow: int, low: float, high: float) -> bool:
    least, most = code_range(bits, signed, narrow)
    return bool(least <= low and high <= most)


def _powers(coded: _Coded, bits: int) -> tuple[str, np.ndarray, dict] | None:
    """Powers of two below the greatest magnitude, where they are stored in less than `bits`."""
    others = tuple(i for i in range(coded.codes.ndim) if coded.scale.size == 1 or i != coded.axis)
    sizes = np.abs(coded.codes)
    most = np.maximum(sizes.max(others, keepdims=True), 1)
    ratio = most / np.where(sizes == 0, most, sizes)
    steps = np.log2(ratio)
    if not np.array_equal(2.0 ** np.round(steps), ratio):
        return None
    stored = next(b for b in _STORED if b >= bits)
    for candidate in (2, 4):
        if candidate < stored and steps.max(initial=0) < magnitudes(candidate):
            scale = (most.reshape(-1) * coded.scale).astype(np.float32)
            return "QuantPow2", scale, {"bits": candidate}
    return None


def _blocks(found: Codes, layers: list[ir.Node]) -> tuple[int, list[slice]] | None:
    """Runs of inputs of a layer within which every output has one scale, and their axis.

    None without such, or where most inputs would have a layer of their own.
    """
    axes = {_inputs_axis(layer, found) for layer in layers}
    if len(axes) != 1 or None in axes:
        return None
    (axis,) = axes
    moved = np.moveaxis(found.scale, axis, 0)
    differs = (moved[1:] != moved[:-1]).reshape(len(moved) - 1, -1).any(1)
    ends = [0, *(np.flatnonzero(differs) + 1), len(moved)]
    runs = [slice(int(a), int(b)) for a, b in pairwise(ends)]
    if 2 * len(runs) > len(moved):
        return None
    parts = (_coded(found.part(_at(axis, run)), _outputs_axes(layers)) for run in runs)
    return (axis, runs) if all(part is not None for part in parts) else None


def _at(axis: int, run: slice) -> tuple[slice, ...]:
    return (*[slice(None)] * axis, run)


def _inputs_axis(layer: ir.Node, found: Codes) -> int | None:
    """The axis of weights that a layer sums over, where it reads them as they are, and second."""
    weights = layer.inputs[1]
    if weights.producer() is None or weights.producer().op_type in _VIEWS:
        return None
    if layer.op_type == "Conv":
        return 1 if integer(layer, "group", 1) == 1 else None
    if layer.op_type == "Gemm":
        return None if integer(layer, "transA", 0) else integer(layer, "transB", 0)
    return 0 if found.codes.ndim == 2 else None


def _split(layer: ir.Node, runs: list[slice], parts: list[ir.Value], rewriting: Rewriting) -> None:
    """A layer of each run of inputs, and their sum; the first one has the bias."""
    name, x = layer.name, layer.inputs[0]
    layer.name = f"{name}.written"
    axes = np.array([1 if layer.op_type == "Conv" else -1], np.int64)
    total: ir.Value | None = None
    for number, (run, weights) in enumerate(zip(runs, parts, strict=True)):
        ends = (("start", [run.start]), ("stop", [run.stop]), ("axes", axes))
        given = [
            rewriting.constant(np.array(n, np.int64), f"{name}.{number}.{what}") for what, n in ends
        ]
        cut = rewriting.insert(layer, ir.node("Slice", [x, *given], name=f"{name}.{number}.inputs"))
        bias = layer.inputs[2:] if number == 0 else ()
        made = ir.node(
            layer.op_type, [cut, weights, *bias], layer.attributes, name=f"{name}.{number}"
        )
        term = rewriting.insert(layer, made)
        if total is not None:
            name_ = name if number == len(runs) - 1 else f"{name}.{number}.sum"
            term = rewriting.insert(layer, ir.node("Add", [total, term], name=name_))
        total = term
    rewriting.replace(layer, total)
