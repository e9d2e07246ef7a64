"""QuantizeLinear and DequantizeLinear, as onnxruntime's quantizer and torch export them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir

from hqc.dialect.quant_uniform import code_range
from hqc.frontend.foreign.activations import read_activation
from hqc.frontend.foreign.grid import Grid
from hqc.frontend.foreign.registry import Rewriting, reads
from hqc.frontend.foreign.weights import Codes, read_constant
from hqc.passes.graph import integer, unsupported

_DOMAINS = ("", "com.microsoft")

_HINT = "quantize to integers of 2 to 16 bits, by constant scales"


@reads("DequantizeLinear", *_DOMAINS)
def dequantize(node: ir.Node, rewriting: Rewriting) -> None:
    """Constants become weights; QuantizeLinear before, with a Clip between or none, a quantizer."""
    x = node.inputs[0]
    if rewriting.constants.is_constant(x):
        read_constant(node, _codes(node, rewriting), rewriting)
        return
    clip = x.producer() if x.producer() and x.producer().op_type == "Clip" else None
    quantizer = (clip.inputs[0] if clip else x).producer()
    if quantizer is None or (quantizer.domain, quantizer.op_type) not in _STANDS_FORS:
        raise unsupported(
            node,
            "it dequantizes what no QuantizeLinear gives",
            "export quantizers as pairs of QuantizeLinear and DequantizeLinear",
        )
    before, after = _parameters(quantizer, rewriting), _parameters(node, rewriting)
    if any(not np.array_equal(a, b) for a, b in zip(before, after, strict=True)):
        raise unsupported(
            node,
            f"its scale and zero point are not those of {quantizer.name!r}",
            "export pairs of QuantizeLinear and DequantizeLinear that belong together",
        )
    scale, zero = before
    if scale.size > 1 and integer(node, "block_size", 0):
        raise unsupported(node, "it quantizes activations by blocks", _HINT)
    low, high = _range(quantizer, zero)
    for end, choose in zip(clip.inputs[1:3] if clip else (), (max, min), strict=False):
        if end is not None:
            if not rewriting.constants.is_constant(end):
                raise unsupported(clip, "it clips codes to what is computed", _HINT)
            number = int(rewriting.constants.array(end))
            low, high = (max(low, number), high) if choose is max else (low, min(high, number))
    grid = Grid(scale, zero.astype(np.int64), low, high)
    read_activation(node, quantizer.inputs[0], grid, rewriting)


@reads("QuantizeLinear", *_DOMAINS)
def quantize(node: ir.Node, rewriting: Rewriting) -> None:
    """What a quantizer gives is read together with the node that dequantizes it."""


_STANDS_FORS = {(domain, "QuantizeLinear") for domain in _DOMAINS}


def _parameters(node: ir.Node, rewriting: Rewriting) -> tuple[np.ndarray, np.ndarray]:
    """A node's scale and its zero point, which has the type of the codes."""
    constants = rewriting.constants
    if not all(constants.is_constant(v) for v in node.inputs[1:]):
        raise unsupported(node, "its scale or zero point is computed", _HINT)
    scale = constants.array(node.inputs[1])
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        zero = constants.array(node.inputs[2])
    else:
        zero = np.zeros(scale.shape, _type(node, rewriting))
    if scale.dtype != np.float32 or not _is_integer(zero.dtype):
        raise unsupported(node, f"it has scales of {scale.dtype} and codes of {zero.dtype}", _HINT)
    return scale, zero


def _type(node: ir.Node, rewriting: Rewriting) -> np.dtype:
    """The type of codes of a node without a zero point."""
    if node.op_type == "DequantizeLinear":
        x = node.inputs[0]
        if rewriting.constants.is_constant(x):
            return rewriting.constants.array(x).dtype
        clip = x.producer()
        node = clip if clip.op_type == "QuantizeLinear" else clip.inputs[0].producer()
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            return rewriting.constants.array(node.inputs[2]).dtype
    kind = integer(node, "output_dtype", 0)
    return ir.DataType(kind).numpy() if kind else np.dtype(np.uint8)


def _is_integer(dtype: np.dtype) -> bool:
    return dtype.kind in "iu" or dtype.name in ("int2", "uint2", "int4", "uint4")


def _range(node: ir.Node, zero: np.ndarray) -> tuple[int, int]:
    info = np.iinfo(zero.dtype) if zero.dtype.kind in "iu" else ml_dtypes.iinfo(zero.dtype)
    return int(info.min), int(info.max)


def _codes(node: ir.Node, rewriting: Rewriting) -> Codes:
    """The codes of a node that dequantizes constants, less their zero points."""
    scale, zero = _parameters(node, rewriting)
    codes = rewriting.constants.array(node.inputs[0]).astype(np.int64)
    zero = zero.astype(np.int64)
    axis = integer(node, "axis", 1)
    named = None
    block = integer(node, "block_size", 0)
    if scale.ndim and scale.size == 1:
        scale, zero = scale.reshape(()), zero.reshape(())
    elif block:
        size = codes.shape[axis]
        scale, zero = (np.repeat(a, block, axis).take(range(size), axis) for a in (scale, zero))
    elif scale.ndim:
        named = axis % codes.ndim
        shape = [1] * codes.ndim
        shape[named] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    bits = _clipped_to(node.inputs[0].producer(), rewriting)
    return Codes(codes - zero, np.broadcast_to(scale, codes.shape), named, bits)


def _clipped_to(node: ir.Node | None, rewriting: Rewriting) -> int | None:
    """The bits that a Clip leaves of constant codes, as Brevitas writes narrow ones."""
    if node is None or node.domain or node.op_type != "Clip" or len(node.inputs) != 3:
        return None
    low, high = (int(rewriting.constants.array(v)) for v in node.inputs[1:])
    signed = int(low < 0)
    fitting = (b for b in range(2, 17) if code_range(b, signed)[0] <= low)
    return next((b for b in fitting if high <= code_range(b, signed)[1]), None)
