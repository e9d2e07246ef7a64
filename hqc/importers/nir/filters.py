"""Nodes that filter what they read over time, and do not fire: products with a matrix of steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hqc.importers.nir.builder import Builder, Filtered, Tensor, alike, compact, lowers
from hqc.importers.nir.conventions import in_steps
from hqc.importers.nir.network import Node

_ROUNDING = 1e-6
"""What the division of two float32 may be off a whole number."""


def decaying(time_steps: int, tau: float) -> np.ndarray:
    """v += (x - v) / tau as a matrix [T, T]."""
    return _powers(time_steps, 1 - 1 / tau) / tau


def filtered(node: Node, x: Tensor, matrix: np.ndarray, part: str = "") -> Filtered:
    """A value that a matrix is still to be multiplied with."""
    return Filtered(x.name, x.shape, matrix, np.zeros(x.shape), node, f"{node.name}{part}")


def one_tau(b: Builder, node: Node, field: str, shape: Sequence[int]) -> float:
    """A time constant in time steps, one for all neurons and not below 1."""
    taus = in_steps(node.each(field, shape), b.dt)
    if not alike(taus):
        raise node.refused(
            f"its {field} differs by neuron, from {taus.min():g} to {taus.max():g} time steps",
            "train one time constant a layer, or split the layer",
        )
    tau = float(taus.flat[0])
    if abs(tau - 1) < _ROUNDING:
        return 1.0
    if not tau >= 1:
        raise node.refused(
            f"its {field} is {tau:g} time steps of {b.dt:g} s",
            "it must be at least one; say what a time step is: --dt SECONDS",
        )
    return tau


@lowers("LI")
def leaky_integrator(b: Builder, node: Node, x: Tensor) -> Tensor:
    """v += dt / tau * (v_leak - v + r x), from v_leak on."""
    x = b.settled(x)
    matrix = decaying(b.time_steps, one_tau(b, node, "tau", x.shape))
    return _potentials(b, node, x, node.each("r", x.shape), matrix, node.each("v_leak", x.shape))


@lowers("CubaLI")
def current_based_integrator(b: Builder, node: Node, x: Tensor) -> Tensor:
    """i += dt / tau_syn * (w_in x - i), then a leaky integrator of r i, in the same step."""
    x = b.settled(x)
    taus = (one_tau(b, node, key, x.shape) for key in ("tau_syn", "tau_mem"))
    synapse, membrane = (decaying(b.time_steps, tau) for tau in taus)
    gain = node.each("w_in", x.shape) * node.each("r", x.shape)
    return _potentials(b, node, x, gain, membrane @ synapse, node.each("v_leak", x.shape))


@lowers("I")
def integrator(b: Builder, node: Node, x: Tensor) -> Tensor:
    """v += r x, a step's input at once."""
    x = b.settled(x)
    gain = node.each("r", x.shape)
    return _potentials(b, node, x, gain, _powers(b.time_steps, 1.0), np.zeros(x.shape))


@lowers("Delay")
def delay(b: Builder, node: Node, x: Tensor) -> Tensor:
    """What it read some time steps before; zeros until then."""
    x = b.settled(x)
    late = in_steps(node.each("delay", x.shape), b.dt)
    steps = float(np.round(late.flat[0]))
    if not alike(late) or abs(late.flat[0] - steps) > _ROUNDING * max(steps, 1) or steps < 0:
        raise node.refused(
            f"its delay is {late.min():g} to {late.max():g} time steps of {b.dt:g} s",
            "it must be a whole number of them, one for all neurons; see --dt",
        )
    if steps == 0:
        return x
    return filtered(node, x, np.eye(b.time_steps, k=-int(steps)))


def _powers(time_steps: int, keep: float) -> np.ndarray:
    """keep ** (t - s) for t >= s, else 0: [T, T]."""
    steps = np.arange(time_steps, dtype=np.float64)
    past = steps[:, None] - steps
    return np.where(past < 0, 0.0, keep ** np.maximum(past, 0))


def _potentials(
    b: Builder, node: Node, x: Tensor, gain: np.ndarray, matrix: np.ndarray, rest: np.ndarray
) -> Filtered:
    """The matrix times gain * x, plus where potentials rest."""
    if alike(gain):
        matrix = matrix * gain.flat[0]
    else:
        x = b.scaled(x, compact(gain), f"{node.name}/scale")
    return Filtered(x.name, x.shape, matrix, rest, node, node.name)
