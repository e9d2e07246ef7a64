"""LIF: leaky integrate-and-fire neurons over a leading time axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from hqc.dialect.op import Op, register


def integrate(
    x: np.ndarray,
    tau: float = 2.0,
    v_threshold: float = 1.0,
    v_reset: float = 0.0,
    soft_reset: int = 0,
    decay_input: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Membrane potentials before any reset, and spikes, of `lif`: x [T, ...] -> both [T, ...]."""
    one = np.float32(1)
    tau, v_threshold, v_reset = np.array([tau, v_threshold, v_reset], np.float32)
    drop = v_threshold - v_reset
    v = np.zeros_like(x[0])
    charged, spikes = np.empty_like(x), np.empty_like(x)
    for t, x_t in enumerate(x):
        v = v + (x_t - v) / tau if decay_input else v * (one - one / tau) + x_t
        charged[t] = v
        fires = v >= v_threshold
        spikes[t] = fires
        v = v - fires * drop if soft_reset else np.where(fires, v_reset, v)
    return charged, spikes


def lif(x: np.ndarray, **attributes: Any) -> np.ndarray:
    """LIF neurons over time: x float [T, ...] -> spikes {0, 1}, same shape and type.

    Charge: v += (x - v) / tau with decay_input, v = v * (1 - 1 / tau) + x without; tau = inf
    without decay_input is IF. Fire: v >= v_threshold. Reset: v = v_reset, or with soft_reset
    v -= v_threshold - v_reset. The membrane potential starts at 0. With tau = 1 nothing is kept.
    """
    return integrate(x, **attributes)[1]


def _check(attributes: dict) -> str | None:
    if not attributes["tau"] >= 1:
        return f"tau is {attributes['tau']}, must be at least 1"
    if attributes["decay_input"] and not np.isfinite(attributes["tau"]):
        return "tau = inf (IF neurons) needs decay_input = 0, or no input arrives"
    if not attributes["v_threshold"] > 0 and attributes["tau"] != 1:
        return f"v_threshold is {attributes['v_threshold']}, must be above 0 if tau is not 1"
    if not np.isfinite([attributes["v_threshold"], attributes["v_reset"]]).all():
        return "v_threshold and v_reset must be finite"
    return None


LIF = register(
    Op(
        """
        LIF <tau: float = 2.0, v_threshold: float = 1.0, v_reset: float = 0.0,
             soft_reset: int = 0, decay_input: int = 1> (x) => (spikes)
        {
            tau = Constant <value_float: float = @tau> ()
            threshold = Constant <value_float: float = @v_threshold> ()
            reset = Constant <value_float: float = @v_reset> ()
            height = Sub(threshold, reset)
            soft_int = Constant <value_int: int = @soft_reset> ()
            soft = Cast <to = 9> (soft_int)
            decay_int = Constant <value_int: int = @decay_input> ()
            decay = Cast <to = 9> (decay_int)
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
                fires = GreaterOrEqual(charged, threshold)
                s_t = CastLike(fires, x_t)
                drop = Mul(s_t, height)
                lowered = Sub(charged, drop)
                cleared = Where(fires, reset, charged)
                v_next = Where(soft, lowered, cleared)
            }> (rest, x)
        }
        """,
        reference=lif,
        check=_check,
    )
)
