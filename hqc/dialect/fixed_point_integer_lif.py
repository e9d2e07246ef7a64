"""FixedPointIntegerLIF: IntegerLIF on potentials in fixed point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from hqc.dialect.intervals import INT32, RangeError
from hqc.dialect.invariants import constant_of, expect, expect_shape, expect_within, facts_of
from hqc.dialect.op import Op, register

SIGNATURE = "leak_multiplier, leak_shift: int = 0"
"""The attributes of such neurons, for the signature of every op that ends in them."""

FORWARD = "leak_multiplier: int = @leak_multiplier, leak_shift: int = @leak_shift"


def fixed_point_integer_lif(
    potentials: np.ndarray,
    thresholds: np.ndarray,
    drop: np.ndarray,
    *,
    leak_multiplier: int,
    leak_shift: int = 0,
) -> np.ndarray:
    """Potentials int32 [T, ...] -> levels uint8 {0 .. thresholds.size}, same shape.

    U = round(U * leak_multiplier / 2^leak_shift) + potentials, half up; s is how many of the
    thresholds, int32 in rising order, U is at or above; U -= s * drop, int32 [1].
    """
    half = (1 << leak_shift) >> 1
    u = np.zeros(potentials.shape[1:], np.int64)
    levels = np.empty(potentials.shape, np.uint8)
    for t, x in enumerate(potentials):
        u = ((u * leak_multiplier + half) >> leak_shift) + x
        levels[t] = np.searchsorted(thresholds.astype(np.int64), u, side="right")
        u = u - levels[t] * np.int64(drop[0])
    return levels


def level_reach(
    low: int, high: int, thresholds: np.ndarray, drop: int, time_steps: int, leak: tuple[int, int]
) -> int:
    """The largest magnitude of a potential of such neurons that read numbers from low to high.

    Raises `RangeError` where 32 bits may not hold it. After a spike a potential is at most what is
    left above the last threshold, or within a drop of the others; every step grows with it.
    """
    multiplier, shift = leak
    half = (1 << shift) >> 1
    bottom, top = 0, 0
    reach = max(int(thresholds[-1]), drop * thresholds.size)
    if reach > INT32:
        raise RangeError("its thresholds do not fit 32 bits", reach / INT32)
    for _ in range(time_steps):
        bottom = ((bottom * multiplier + half) >> shift) + low
        top = ((top * multiplier + half) >> shift) + high
        reach = max(reach, -bottom, top)
        if reach > INT32:
            raise RangeError("its membrane potentials do not fit 32 bits", reach / INT32)
        if top >= thresholds[0]:
            between = max(int(t) - i * drop for i, t in enumerate(thresholds))
            top = max(top - thresholds.size * drop, between)
            bottom = min(bottom, min(int(t) - (i + 1) * drop for i, t in enumerate(thresholds)))
    return reach


def verify_levels(node: ir.Node, parameters: Sequence[ir.Value], time_steps: int) -> None:
    """Neurons of an op that ends in them: `parameters` are thresholds and drop."""
    x = facts_of(node.inputs[0], "potentials")
    thresholds, drop = (constant_of(v) for v in parameters)
    expect("the shape of its drop", drop.shape, (1,))
    expect("the type of its thresholds", thresholds.dtype, np.dtype(np.int32))
    expect("that its thresholds rise", bool(np.all(np.diff(thresholds.astype(np.int64)) > 0)), True)
    given = {name: a.value for name, a in node.attributes.items()}
    leak = given["leak_multiplier"], given.get("leak_shift", 0)
    level_reach(x.lowest, x.highest, thresholds, int(drop[0]), time_steps, leak)
    facts_of(node.outputs[0], "spikes", "levels")
    expect_within(node.outputs[0], np.array(0), np.array(thresholds.size))


def _verify(node: ir.Node) -> None:
    shape = node.inputs[0].shape.numpy()
    expect_shape(node.outputs[0], shape)
    verify_levels(node, node.inputs[1:], shape[0])


FIXED_POINT_INTEGER_LIF = register(
    Op(
        f"""
        FixedPointIntegerLIF <{SIGNATURE}> (potentials, thresholds, drop) => (levels)
        {{
            two = Constant <value_int = 2> ()
            multiplier = Constant <value_int: int = @leak_multiplier> ()
            shift = Constant <value_int: int = @leak_shift> ()
            divisor = Pow(two, shift)
            half = Div(divisor, two)
            last_axis = Constant <value_ints = [-1]> ()
            thresholds64 = Cast <to = 7> (thresholds)
            drop64 = Cast <to = 7> (drop)
            wide = Cast <to = 7> (potentials)
            zero = Constant <value_int = 0> ()
            first = Gather <axis = 0> (wide, zero)
            rest = Sub(first, first)
            last, levels = Scan <num_scan_inputs = 1, body = step (u, x) => (u_next, s) {{
                product = Mul(u, multiplier)
                raised = Add(product, half)
                remainder = Mod(raised, divisor)
                multiple = Sub(raised, remainder)
                leaked = Div(multiple, divisor)
                charged = Add(leaked, x)
                column = Unsqueeze(charged, last_axis)
                above = GreaterOrEqual(column, thresholds64)
                ones = Cast <to = 7> (above)
                count = ReduceSum <keepdims = 0> (ones, last_axis)
                s = Cast <to = 2> (count)
                lost = Mul(count, drop64)
                u_next = Sub(charged, lost)
            }}> (rest, wide)
        }}
        """,
        reference=fixed_point_integer_lif,
        verify=_verify,
    )
)
