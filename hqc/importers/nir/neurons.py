"""Nodes that fire: above a threshold, with a memory or without."""

from __future__ import annotations

import math

import numpy as np

from hqc.dialect import DIALECT
from hqc.importers.nir.builder import Builder, Tensor, alike, lowers
from hqc.importers.nir.conventions import above
from hqc.importers.nir.filters import decaying, filtered, one_tau
from hqc.importers.nir.network import Node

_SAME = 1e-6
"""A gain that is 1 up to the rounding of float32, in which files hold it."""


@lowers("IF")
def integrate_and_fire(b: Builder, node: Node, x: Tensor) -> Tensor:
    """v += r x, a step's input at once."""
    x = b.settled(x)
    level, reset = (node.each(key, x.shape) for key in ("v_threshold", "v_reset"))
    return _firing(b, node, x, math.inf, node.each("r", x.shape), level, reset, level)


@lowers("LIF")
def leaky(b: Builder, node: Node, x: Tensor) -> Tensor:
    """v += dt / tau * (v_leak - v + r x), counted from v_leak, where it begins."""
    x = b.settled(x)
    tau = one_tau(b, node, "tau", x.shape)
    return _above_leak(b, node, x, tau, node.each("r", x.shape) / tau)


@lowers("CubaLIF")
def current_based(b: Builder, node: Node, x: Tensor) -> Tensor:
    """i += dt / tau_syn * (w_in x - i), then a LIF neuron of r i, in the same step."""
    x = b.settled(x)
    synapse, tau = (one_tau(b, node, key, x.shape) for key in ("tau_syn", "tau_mem"))
    gain = node.each("w_in", x.shape) * node.each("r", x.shape) / tau
    if synapse != 1:
        x = b.settled(filtered(node, x, decaying(b.time_steps, synapse), "/current"))
    return _above_leak(b, node, x, tau, gain)


@lowers("Threshold")
def threshold(b: Builder, node: Node, x: Tensor) -> Tensor:
    """1 where what it reads is above the threshold."""
    x, level = b.settled(x), node.each("threshold", x.shape)
    if alike(level):
        attributes = {"tau": 1.0, "v_threshold": above(level.flat[0]), "decay_input": 0}
        return b.op("LIF", [x.name], x.shape, node.name, DIALECT, **attributes)
    shown = b.constant(level, f"{node.name}.threshold")
    fires = b.op("Greater", [x.name, shown], x.shape, f"{node.name}/Greater")
    return b.op("Cast", [fires.name], x.shape, node.name, to=1)


def _above_leak(b: Builder, node: Node, x: Tensor, tau: float, gain: np.ndarray) -> Tensor:
    keys = ("v_threshold", "v_reset", "v_leak")
    level, reset, leak = (node.each(key, x.shape) for key in keys)
    return _firing(b, node, x, tau, gain, level - leak, reset - leak, level)


def _firing(
    b: Builder,
    node: Node,
    x: Tensor,
    tau: float,
    gain: np.ndarray,
    level: np.ndarray,
    reset: np.ndarray,
    drop: np.ndarray,
) -> Tensor:
    """v = v * (1 - 1 / tau) + gain * x; above `level` it fires, and is set to `reset`.

    Or `drop` is subtracted. Where these differ by neuron, each is counted in its own thresholds.
    """
    if not (level > 0).all():
        raise node.refused(
            f"its v_threshold is {float(level.min()):g} above where potentials begin",
            "neurons that fire without any input are not compiled",
        )
    lands = drop if b.subtracts else reset
    if not (alike(gain) and gain.flat[0] > 0 and alike(level) and alike(lands)):
        x = b.scaled(x, gain / level, f"{node.name}/scale")
        lands, gain, level = lands / level, np.ones(1), np.ones(1)
        if np.ptp(lands) > _SAME * np.abs(lands).max():
            what = "v_leak" if b.subtracts else "v_reset"
            raise node.refused(
                f"its {what} is another part of v_threshold for some neurons",
                "give all neurons one, or that of their thresholds",
            )
    one, limit, land = (float(a.flat[0]) for a in (gain, level, lands))
    plain = abs(one - 1) < _SAME
    decays = not plain and math.isfinite(tau)
    unit = 1.0 if plain else one * tau if decays else one
    fires = above(limit / unit)
    return b.op(
        "LIF",
        [x.name],
        x.shape,
        node.name,
        DIALECT,
        tau=tau,
        v_threshold=fires,
        v_reset=fires - land / unit if b.subtracts else land / unit,
        soft_reset=int(b.subtracts),
        decay_input=int(decays),
    )
