"""FixedPointLIF: LIF on integer accumulators, with BatchNorm and scales inside the thresholds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from hqc.dialect.intervals import lanes_hold, neuron_interval
from hqc.dialect.invariants import (
    InvariantError,
    constant_of,
    ends_along,
    expect_channels,
    expect_shape,
    facts_of,
)
from hqc.dialect.op import Op, register

SIGNATURE = (
    "frac_bits, exact: int = 0, leak_multiplier: int = 1, leak_shift: int = 0, "
    "soft_reset: int = 0, potential_bits: int = 32"
)
"""The attributes of integer neurons, for the signature of every op that ends in them."""

FORWARD = (
    "frac_bits: int = @frac_bits, exact: int = @exact, leak_multiplier: int = @leak_multiplier, "
    "leak_shift: int = @leak_shift, soft_reset: int = @soft_reset, "
    "potential_bits: int = @potential_bits"
)
"""The same attributes, passed on to a `FixedPointLIF` in such an op's body."""

DEFAULTS = {
    "exact": 0,
    "leak_multiplier": 1,
    "leak_shift": 0,
    "soft_reset": 0,
    "potential_bits": 32,
}
NAMES = ("frac_bits", *DEFAULTS)


def fixed_point_lif(
    accumulator: np.ndarray,
    bias: np.ndarray,
    threshold: np.ndarray,
    reset: np.ndarray,
    *,
    frac_bits: int,
    exact: int = 0,
    leak_multiplier: int = 1,
    leak_shift: int = 0,
    soft_reset: int = 0,
    potential_bits: int = 32,
) -> np.ndarray:
    """Integer neurons: accumulator int32 [T, ...] -> spikes uint8 {0, 1}, same shape.

    With I_t = accumulator * 2^frac_bits + bias, all in units of 2^-frac_bits accumulators:
    guarded:  U = round(U * leak_multiplier / 2^leak_shift) + I_t, half up; fires at threshold
    exact (tau = 2):  U = U + 2^t * I_t, never rounded; fires where U >= 2^t * threshold
    Then U = reset (times 2^t) or, with soft_reset, U -= reset (times 2^t). What it is then fits
    `potential_bits`, 16 or 32, which hold it until the next step; a step is computed in 32.
    """
    half = (1 << leak_shift) >> 1
    u = np.zeros(accumulator.shape[1:], np.int64)
    spikes = np.empty(accumulator.shape, np.uint8)
    for t, acc in enumerate(accumulator.astype(np.int64)):
        growth = 1 << t if exact else 1
        current = (acc << frac_bits) + bias.astype(np.int64)
        kept = u if exact else (u * leak_multiplier + half) >> leak_shift
        u = kept + current * growth
        fires = u >= threshold * np.int64(growth)
        spikes[t] = fires
        cleared = reset * np.int64(growth)
        after = u - cleared if soft_reset else cleared
        u = np.where(fires, after, u)
    return spikes


def verify_neurons(
    node: ir.Node, levels: Sequence[ir.Value], low: np.ndarray, high: np.ndarray
) -> None:
    """Integer neurons of an op that ends in them: `levels` are bias, threshold and reset.

    low, high: what their accumulators can reach. Potentials must fit 32 bits at all time steps, and
    their lanes where an op has some.
    """
    facts_of(node.outputs[0], "spikes")
    lanes = node.attributes["lanes"].value if "lanes" in node.attributes else 1
    if not neurons_fit(node, levels, low, high) and lanes > 1:
        raise InvariantError(f"{lanes} neurons do not fit the lanes of a word")


def neurons_fit(
    node: ir.Node, levels: Sequence[ir.Value], low: np.ndarray, high: np.ndarray
) -> bool:
    """Whether lanes of `potential_bits` hold the neurons of such an op, side by side.

    Raises `RangeError` where 32 bits do not hold them.
    """
    bias, threshold, reset = (constant_of(v).reshape(-1) for v in levels)
    given = {n: node.attributes[n].value for n in NAMES if n in node.attributes}
    neurons, time_steps = DEFAULTS | given, node.outputs[0].shape.numpy()[0]
    least, most, _ = neuron_interval(low, high, bias, threshold, reset, time_steps, neurons)
    return lanes_hold(least, most, threshold, reset, neurons)


def _verify(node: ir.Node) -> None:
    facts_of(node.inputs[0], "sums", "potentials", "levels")
    if node.inputs[0].dtype == ir.DataType.INT64:
        raise InvariantError("neurons read sums of 64 bits")
    channels = max(constant_of(v).size for v in node.inputs[1:])
    for level in node.inputs[1:]:
        expect_channels(level, channels)
    expect_shape(node.outputs[0], node.inputs[0].shape.numpy())
    verify_neurons(node, node.inputs[1:], *ends_along(node.inputs[0], node.inputs[1:]))


FIXED_POINT_LIF = register(
    Op(
        f"""
        FixedPointLIF <{SIGNATURE}> (accumulator, bias, threshold, reset) => (spikes)
        {{
            zero = Constant <value_int = 0> ()
            one = Constant <value_int = 1> ()
            two = Constant <value_int = 2> ()
            frac_bits = Constant <value_int: int = @frac_bits> ()
            unit = Pow(two, frac_bits)
            multiplier = Constant <value_int: int = @leak_multiplier> ()
            shift = Constant <value_int: int = @leak_shift> ()
            divisor = Pow(two, shift)
            half = Div(divisor, two)
            exact_int = Constant <value_int: int = @exact> ()
            exact = Cast <to = 9> (exact_int)
            growth = Add(exact_int, one)
            soft_int = Constant <value_int: int = @soft_reset> ()
            soft = Cast <to = 9> (soft_int)
            bias64 = Cast <to = 7> (bias)
            threshold64 = Cast <to = 7> (threshold)
            reset64 = Cast <to = 7> (reset)

            wide = Cast <to = 7> (accumulator)
            scaled = Mul(wide, unit)
            current = Add(scaled, bias64)
            first = Gather <axis = 0> (current, zero)
            rest = Sub(first, first)
            last, power, spikes = Scan <num_scan_inputs = 1,
                body = step (u, p, i) => (u_next, p_next, s) {{
                    grown = Mul(i, p)
                    kept = Add(u, grown)
                    product = Mul(u, multiplier)
                    raised = Add(product, half)
                    remainder = Mod(raised, divisor)
                    multiple = Sub(raised, remainder)
                    leaked = Div(multiple, divisor)
                    added = Add(leaked, i)
                    charged = Where(exact, kept, added)
                    level = Mul(threshold64, p)
                    fires = GreaterOrEqual(charged, level)
                    s = Cast <to = 2> (fires)
                    cleared = Mul(reset64, p)
                    lowered = Sub(charged, cleared)
                    after = Where(soft, lowered, cleared)
                    u_next = Where(fires, after, charged)
                    p_next = Mul(p, growth)
                }}> (rest, one, current)
        }}
        """,
        reference=fixed_point_lif,
        verify=_verify,
    )
)
