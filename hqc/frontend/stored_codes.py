"""Quantized weights in files: the integer codes, in as few bits as they take, not floats.

In memory a quantizer reads floats, which it leaves as they are. In a file its codes stand in its
place, of 2 bits four in a byte, of 3 and 4 as int4, else as int8 or int16, with the quantizer's
name and attributes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from hqc.copies import copy_model
from hqc.dialect import DIALECT, Op, attach_functions, find_op
from hqc.dialect.pow2_codes import POW2_CODES, pow2_places
from hqc.dialect.quant_pow2 import QUANT_POW2, magnitudes, pow2_codes
from hqc.dialect.quant_uniform import QUANT_UNIFORM, code_range, uniform_codes
from hqc.dialect.two_bit_codes import TWO_BIT_CODES, packed
from hqc.dialect.uniform_codes import UNIFORM_CODES
from hqc.errors import UserError
from hqc.passes.graph import add_initializer, constant

TYPES = {
    4: (ir.DataType.UINT4, ir.DataType.INT4),
    8: (ir.DataType.UINT8, ir.DataType.INT8),
    16: (ir.DataType.UINT16, ir.DataType.INT16),
}
"""Types of stored codes by the most bits that they hold: unsigned and signed."""

_INTEGERS = {dtype for pair in TYPES.values() for dtype in pair}


@dataclass(frozen=True)
class _Scheme:
    """A quantizer, the op that stands for it in files, and the codes that this one reads."""

    quantizer: Op
    stored: Op
    codes: Callable[..., np.ndarray]
    range: Callable[..., tuple[int, int]]


def _places(x: np.ndarray, scale: np.ndarray, **attributes: int) -> np.ndarray:
    return pow2_places(pow2_codes(x, scale, **attributes))


_SCHEMES = (
    _Scheme(
        QUANT_UNIFORM,
        UNIFORM_CODES,
        uniform_codes,
        lambda bits, signed, narrow, axis: code_range(bits, signed, narrow),
    ),
    _Scheme(
        QUANT_POW2,
        POW2_CODES,
        _places,
        lambda bits, axis: (-magnitudes(bits), magnitudes(bits)),
    ),
)


def with_codes(model: ir.Model) -> ir.Model:
    """A copy whose quantizers of constants are the codes that these make.

    A quantizer stays where it would make something else of what they stand for, as for a scale of 0
    or one whose multiples are not finite.
    """
    model = copy_model(model)
    by_op = {s.quantizer: s for s in _SCHEMES}
    for node in list(model.graph):
        scheme = by_op.get(find_op(node))
        arrays = [constant(v) for v in node.inputs]
        if scheme is None or any(a is None for a in arrays):
            continue
        x, scale = arrays
        attributes = scheme.quantizer.attributes(node)
        with np.errstate(all="ignore"):
            codes = scheme.codes(x, scale, **attributes)
        if np.isfinite(codes).all() and _is_kept(scheme, codes, scale, attributes):
            _store(model.graph, node, scheme, codes.astype(np.int32), attributes)
    return attach_functions(model)


def _is_kept(
    scheme: _Scheme, codes: np.ndarray, scale: np.ndarray, attributes: dict[str, int]
) -> bool:
    """Whether the quantizer makes of the codes' floats these codes and floats again."""
    with np.errstate(all="ignore"):
        x = scheme.stored.reference(codes, scale, **attributes)
        again = scheme.codes(x, scale, **attributes)
        return np.array_equal(again, codes) and np.array_equal(
            scheme.quantizer.reference(x, scale, **attributes), x
        )


def _store(
    graph: ir.Graph, node: ir.Node, scheme: _Scheme, codes: np.ndarray, attributes: dict[str, int]
) -> None:
    """Put the codes in the quantizer's place, under the name that its weights had."""
    weights, scale = node.inputs
    signed = attributes.get("signed", 1)
    node.replace_input_with(0, None)
    name = _free(graph, weights)
    if attributes["bits"] == 2:
        fields = add_initializer(graph, packed(codes), name)
        shape = {"shape": codes.shape, "signed": signed}
        unpack = _op(TWO_BIT_CODES, [fields], shape, f"{node.name}/{TWO_BIT_CODES.name}")
        unpack.outputs[0].shape = ir.Shape(codes.shape)
        unpack.outputs[0].type = ir.TensorType(ir.DataType.INT8)
        graph.insert_before(node, unpack)
        stored = unpack.outputs[0]
    else:
        dtype = next(pair for bits, pair in TYPES.items() if attributes["bits"] <= bits)[signed]
        stored = add_initializer(graph, codes.astype(dtype.numpy()), name)
    made = _op(scheme.stored, [stored, scale], node.attributes, node.name)
    _replace(graph, node, made)


def with_quantizers(path: Path, model: ir.Model) -> None:
    """Put quantizers of floats in the place of codes, in a model that was read from a file.

    Raises `UserError` for codes that are no constants, or that no quantizer of the node's
    attributes gives.
    """
    by_op = {s.stored: s for s in _SCHEMES}
    for node in list(model.graph):
        scheme = by_op.get(find_op(node))
        if scheme is not None:
            found = _read(scheme, node)
            if isinstance(found, str):
                raise UserError(
                    f"{path}: node {node.name!r} ({DIALECT}::{node.op_type}): {found}",
                    hint="export the model again",
                )
            _restore(model.graph, node, scheme, found)


def _read(scheme: _Scheme, node: ir.Node) -> np.ndarray | str:
    """The codes' floats, or what is wrong with them."""
    if len(node.inputs) != 2 or None in node.inputs:
        return f"it has {len([v for v in node.inputs if v is not None])} inputs, not 2"
    attributes = scheme.stored.attributes(node)
    codes, scale = _codes(node.inputs[0]), constant(node.inputs[1])
    if isinstance(codes, str):
        return codes
    if scale is None or scale.dtype != np.float32:
        return "its scale is no constant in float32"
    if not -codes.ndim <= attributes["axis"] < codes.ndim:
        return f"axis {attributes['axis']} is none of {list(codes.shape)}"
    channels = codes.shape[attributes["axis"]]
    if scale.shape not in ((), (1,), (channels,)):
        return (
            f"scales {list(scale.shape)} are neither one number nor one for each of {channels} "
            "channels"
        )
    low, high = scheme.range(**attributes)
    if codes.size and not low <= int(codes.min()) <= int(codes.max()) <= high:
        return f"codes from {codes.min()} to {codes.max()} are not within {low} to {high}"
    if not _is_kept(scheme, codes, scale, attributes):
        return "its scale is 0, or so small or large that its codes are rounded"
    return scheme.stored.reference(codes, scale, **attributes)


def _codes(value: ir.Value) -> np.ndarray | str:
    """The integers of an initializer, or of the bytes that hold them; else what is wrong."""
    node = value.producer()
    if node is None or find_op(node) is not TWO_BIT_CODES:
        array = constant(value)
        if array is None or value.const_value.dtype not in _INTEGERS:
            return "its codes are no constant of integers of 4, 8 or 16 bits"
        return array.astype(np.int32) if array.ndim else "it reads a single number"
    fields = constant(node.inputs[0]) if len(node.inputs) == 1 else None
    attributes = TWO_BIT_CODES.attributes(node)
    needed = -(-math.prod(attributes["shape"]) // 4)
    if fields is None or fields.dtype != np.uint8 or fields.shape != (needed,):
        return f"its codes of 2 bits are no constant of {needed} bytes"
    return TWO_BIT_CODES.reference(fields, **attributes).astype(np.int32)


def _restore(graph: ir.Graph, node: ir.Node, scheme: _Scheme, weights: np.ndarray) -> None:
    """Put the quantizer and its floats in the codes' place, under the codes' name."""
    codes, scale = node.inputs
    node.replace_input_with(0, None)
    unpack = codes.producer()
    if unpack is not None and not codes.uses():
        (codes,) = unpack.inputs
        graph.remove(unpack, safe=True)
    value = add_initializer(graph, weights, _free(graph, codes))
    _replace(graph, node, _op(scheme.quantizer, [value, scale], node.attributes, node.name))


def _free(graph: ir.Graph, value: ir.Value) -> str:
    """The name of an initializer, which goes where nothing reads it any more."""
    if not value.uses() and not value.is_graph_output():
        graph.initializers.pop(value.name)
    return value.name


def _op(op: Op, inputs: list[ir.Value], attributes: Mapping, name: str) -> ir.Node:
    return ir.node(op.name, inputs, attributes, domain=op.domain, name=name)


def _replace(graph: ir.Graph, node: ir.Node, made: ir.Node) -> None:
    """Put a node in another's place: its output keeps its name, shape and type."""
    made.metadata_props.update(node.metadata_props)
    ir.convenience.replace_nodes_and_values(graph, node, [node], [made], node.outputs, made.outputs)
