"""FixedPointLIF: LIF on integer accumulators, with BatchNorm and scales inside the thresholds."""

from __future__ import annotations

import numpy as np

from hqc.dialect.op import Op, register

SIGNATURE = (
    "frac_bits, exact: int = 0, leak_multiplier: int = 1, leak_shift: int = 0, soft_reset: int = 0"
)
"""The attributes of integer neurons, for the signature of every op that ends in them."""

FORWARD = (
    "frac_bits: int = @frac_bits, exact: int = @exact, leak_multiplier: int = @leak_multiplier, "
    "leak_shift: int = @leak_shift, soft_reset: int = @soft_reset"
)
"""The same attributes, passed on to a `FixedPointLIF` in such an op's body."""

NAMES = ("frac_bits", "exact", "leak_multiplier", "leak_shift", "soft_reset")


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
) -> np.ndarray:
    """Integer neurons: accumulator int32 [T, ...] -> spikes uint8 {0, 1}, same shape.

    With I_t = accumulator * 2^frac_bits + bias, all in units of 2^-frac_bits accumulators:
    guarded:  U = round(U * leak_multiplier / 2^leak_shift) + I_t, half up; fires at threshold
    exact (tau = 2):  U = U + 2^t * I_t, never rounded; fires where U >= 2^t * threshold
    Then U = reset (times 2^t) or, with soft_reset, U -= threshold (times 2^t).
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
        after = u - threshold * np.int64(growth) if soft_reset else reset * np.int64(growth)
        u = np.where(fires, after, u)
    return spikes


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
                    lowered = Sub(charged, level)
                    cleared = Mul(reset64, p)
                    after = Where(soft, lowered, cleared)
                    u_next = Where(fires, after, charged)
                    p_next = Mul(p, growth)
                }}> (rest, one, current)
        }}
        """,
        reference=fixed_point_lif,
    )
)
