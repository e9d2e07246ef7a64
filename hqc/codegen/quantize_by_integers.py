"""QuantizeFrames for machines without floating-point registers: by comparing bits."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from hqc.codegen.interface import render
from hqc.dialect import find_op
from hqc.dialect.quantize_frames import quantize_frames

_LEAST, _INFINITY = 0x007FFFFF, 0xFF800000
"""The places of minus infinity and of infinity among all floats."""


def quantize_by_integers(node: ir.Node, symbol: str) -> str:
    """C of the kernel of a QuantizeFrames, under that name."""
    beginnings = code_beginnings(node)
    values = {
        "symbol": symbol,
        "code": f"{node.outputs[0].dtype.name.lower()}_t",
        "low": find_op(node).attributes(node)["qmin"],
        "count": beginnings.size,
        "beginnings": ", ".join(f"{b}u" for b in beginnings),
        "elements": math.prod(node.outputs[0].shape.numpy()[1:]),
    }
    return render("quantize.c.in", values)


def code_beginnings(node: ir.Node) -> np.ndarray:
    """For every code but the lowest, the place of the least float that has it or a greater one.

    Floats have the order of their places: uint32, their bits, with all of a negative one's flipped,
    and the sign's of another. Codes grow with floats, so each is found by halving.
    """
    attributes = find_op(node).attributes(node)
    scale = node.inputs[1].const_value.numpy().reshape(-1)
    codes = np.arange(attributes["qmin"] + 1, attributes["qmax"] + 1)
    low, high = np.full(codes.size, _LEAST, np.int64), np.full(codes.size, _INFINITY, np.int64)
    while (low < high).any():
        middle = (low + high) // 2
        reached = quantize_frames(_float_at(middle), scale, **attributes) >= codes
        low, high = np.where(reached, low, middle + 1), np.where(reached, middle, high)
    return low.astype(np.uint32)


def _float_at(place: np.ndarray) -> np.ndarray:
    bits = np.where(place >> 31, place ^ 0x80000000, ~place & 0xFFFFFFFF)
    return bits.astype(np.uint32).view(np.float32)
