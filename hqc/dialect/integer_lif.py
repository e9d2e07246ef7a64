"""IntegerLIF: neurons that fire several spikes a step, as one small integer."""

from __future__ import annotations

from typing import Any

import numpy as np

from hqc.dialect.lif import _check as check_lif
from hqc.dialect.op import Op, register

NEURONS = ("LIF", "IntegerLIF")
"""Ops of the dialect that fire."""


def integrate(
    x: np.ndarray,
    levels: int,
    tau: float = 2.0,
    v_threshold: float = 1.0,
    decay_input: int = 1,
    half_up: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Membrane potentials before spikes are taken off, and spikes, of `integer_lif`: [T, ...]."""
    one = np.float32(1)
    tau, v_threshold = np.array([tau, v_threshold], np.float32)
    v = np.zeros_like(x[0])
    charged, spikes = np.empty_like(x), np.empty_like(x)
    for t, x_t in enumerate(x):
        v = v + (x_t - v) / tau if decay_input else v * (one - one / tau) + x_t
        charged[t] = v
        ratio = v / v_threshold
        whole = np.floor(ratio + np.float32(0.5)) if half_up else np.round(ratio)
        spikes[t] = np.clip(whole, 0, levels)
        v = v - spikes[t] * v_threshold
    return charged, spikes


def integer_lif(x: np.ndarray, levels: int, **attributes: Any) -> np.ndarray:
    """I-LIF neurons (SpikeYOLO, Luo et al. 2024, equation 9): x float [T, ...] -> {0 .. levels}.

    Charge as LIF; s = clip(round(v / v_threshold), 0, levels), half to even, or up with half_up;
    v -= s * v_threshold. With tau = 1 and without decay_input a step knows nothing of others.
    """
    return integrate(x, levels, **attributes)[1]


def _check(attributes: dict) -> str | None:
    if not 1 <= attributes["levels"] <= 255:
        return f"levels is {attributes['levels']}, must be 1 to 255"
    if attributes["half_up"] not in (0, 1):
        return f"half_up is {attributes['half_up']}, must be 0 or 1"
    return check_lif({**attributes, "v_reset": 0.0})


INTEGER_LIF = register(
    Op(
        """
        IntegerLIF <levels, tau: float = 2.0, v_threshold: float = 1.0, decay_input: int = 1,
                    half_up: int = 0> (x) => (spikes)
        {
            tau = Constant <value_float: float = @tau> ()
            threshold = Constant <value_float: float = @v_threshold> ()
            decay_int = Constant <value_int: int = @decay_input> ()
            decay = Cast <to = 9> (decay_int)
            levels_int = Constant <value_int: int = @levels> ()
            levels = Cast <to = 1> (levels_int)
            up_int = Constant <value_int: int = @half_up> ()
            up = Cast <to = 9> (up_int)
            half = Constant <value_float = 0.5> ()
            zero = Constant <value_float = 0.0> ()
            one = Constant <value_float = 1.0> ()
            rate = Div(one, tau)
            keep = Sub(one, rate)
            zero_index = Constant <value_int = 0> ()
            first = Gather <axis = 0> (x, zero_index)
            rest = Sub(first, first)
            last, spikes = Scan <num_scan_inputs = 1, body = step (v, x_t) => (v_next, s_t) {
                gap = Sub(x_t, v)
                part = Div(gap, tau)
                decayed = Add(v, part)
                kept = Mul(v, keep)
                added = Add(kept, x_t)
                charged = Where(decay, decayed, added)
                ratio = Div(charged, threshold)
                to_even = Round(ratio)
                raised = Add(ratio, half)
                upwards = Floor(raised)
                rounded = Where(up, upwards, to_even)
                s_t = Clip(rounded, zero, levels)
                drop = Mul(s_t, threshold)
                v_next = Sub(charged, drop)
            }> (rest, x)
        }
        """,
        reference=integer_lif,
        check=_check,
    )
)
