"""Neurons, of one level and of several."""

from __future__ import annotations

import itertools
import math

import numpy as np

from hqc.dialect import DIALECT
from tests.fuzz.layers import conv, linear
from tests.fuzz.net import Net, Tensor, layer


@layer(lambda net, x: True, 8)
def lif(net: Net, x: Tensor) -> Tensor:
    """Neurons, whose threshold some of the potentials reach."""
    if x.kind != "potentials" and not net.rarely("odd views", 20):
        x = conv(net, x) if net.chance(50) else linear(net, x)
    attributes: dict = {}
    tau = net.pick(2.0, 2.0, 2.0, 1.0, 1.5, 3.0, 4.0, 7.0, 20.0, 30.0, math.inf)
    decay = int(tau != math.inf and not net.chance(25))
    if tau != 2.0 or net.chance(30):
        attributes["tau"] = tau
    if not decay or net.chance(30):
        attributes["decay_input"] = decay
    name = x.name
    steps, _, *rest = x.shape
    if net.chance(10) or net.rarely("odd views"):  # neurons do not see the axes behind time
        size = x.channels
        split = next(h for h in (2, 3, 5, 1) if size % h == 0)
        parts = itertools.chain(*([split, n // split] if n == size else [n] for n in rest))
        mixed = (steps, 1, *parts), (steps, 1, math.prod(rest)), (steps, *rest[::-1])
        name = net.view(name, net.pick(*mixed) if "odd views" in net.rare else (steps, *rest))
    charged = _charged(net.data[name].astype(np.float64), tau, decay)
    rate = net.pick(0.3, 0.1, 0.5, 0.02, 0.6)
    charged = charged[np.isfinite(charged)]
    threshold = float(np.quantile(charged, 1 - rate)) if charged.size else 1.0
    if not threshold > 1e-6:
        threshold = max(float(charged.max()) / 2, 1e-3)
    threshold = float(np.float32(f"{threshold:.3g}"))
    if net.chance(3):
        threshold *= net.pick(1e5, 1e-5)
    if threshold != 1.0 or net.chance(30):
        attributes["v_threshold"] = threshold
    if net.chance(25):
        attributes["v_reset"] = threshold * net.pick(-0.5, 0.3, -3.0, 0.0, 1.5)
    if net.chance(30):
        attributes["soft_reset"] = 1
    name = net.view(net.op("LIF", name, domain=DIALECT, **attributes), x.shape)
    return net.tensor(name, "spikes", x)


def _charged(x: np.ndarray, tau: float, decay: int) -> np.ndarray:
    """Membrane potentials that are never reset."""
    v, charged = np.zeros_like(x[0]), []
    for x_t in x:
        v = v * (1 - 1 / tau) + (x_t / tau if decay else x_t)
        charged.append(v)
    return np.stack(charged)


@layer(lambda net, x: x.kind != "potentials" and "edge of 32 bits" in net.rare, 20)
def on_the_edge(net: Net, x: Tensor) -> Tensor:
    """Neurons whose potentials, never reset, end just below a power of two accumulators."""
    x, steps = net.as_image(x), x.shape[0]
    tau = net.pick(7.0, 20.0, 30.0, 3.0, 1.5)
    code, unit = net.pick(127, 1, 100), np.float32(2.0**-6)
    weights = net.constant(np.full((3, x.channels, 1, 1), code * unit, np.float32))
    weights = net.op("QuantUniform", weights, net.constant(unit.reshape(1)), domain=DIALECT, bits=8)
    scale = float(net.data[x.name].max()) / x.high or 1.0
    memory = sum((1 - 1 / tau) ** t for t in range(steps))
    most = code * x.channels * x.high
    end = 2.0 ** math.ceil(math.log2((most + 1) * memory)) - net.pick(2.5, 3.0, 10.0)
    bias = (end / memory - most) * unit * scale
    bias = net.constant(np.full(3, bias, np.float32))
    name = net.view(x.name, (steps, x.channels, *x.positions))
    name = net.view(net.op("Conv", name, weights, bias), (steps, 1, 3, *x.positions))
    threshold = end * unit * scale * net.pick(2.0, 0.5)
    attributes = {"tau": tau, "decay_input": 0, "v_threshold": float(np.float32(threshold))}
    return net.tensor(net.op("LIF", name, domain=DIALECT, **attributes), "spikes", x)


@layer(lambda net, x: True, 4)
def integer_neurons(net: Net, x: Tensor) -> Tensor:
    """Neurons of several levels; those without a memory may be written as what they round."""
    if x.kind == "spikes" and net.chance(60):
        x = conv(net, x) if net.chance(50) else linear(net, x)
    levels = net.pick(4, 1, 2, 3, 5, 8, 15, 31, 255)
    forgetful = net.chance(50)
    tau = 1.0 if forgetful else net.pick(2.0, 1.0, 1.5, 3.0, 7.0, math.inf)
    decay = int(not forgetful and tau != math.inf and net.chance(60))
    half_up = int(net.chance(40))
    charged = _charged(net.data[x.name].astype(np.float64), tau, decay)
    charged = np.append(charged[np.isfinite(charged)], 0.0)
    most = float(np.quantile(charged, net.pick(0.95, 1.0, 0.7)))
    step = most / net.pick(levels, 1, 2 * levels)
    if not step > 1e-6:
        step = max(float(charged.max()), 1e-3) / levels
    step = float(np.float32(f"{net.pick(1.0, 1.0, 1.0, 1e-3, 1e3) * step:.3g}"))
    if forgetful and net.chance(60):
        return net.tensor(_rounded(net, x.name, levels, half_up, step), "spikes", x, high=levels)
    attributes: dict = {"levels": levels, "v_threshold": step}
    if tau != 2.0 or net.chance(30):
        attributes["tau"] = tau
    if not decay or net.chance(30):
        attributes["decay_input"] = decay
    if half_up or net.chance(30):
        attributes["half_up"] = half_up
    name = net.op("IntegerLIF", x.name, domain=DIALECT, **attributes)
    return net.tensor(name, "spikes", x, high=levels)


def _rounded(net: Net, name: str, levels: int, half_up: int, step: float) -> str:
    """Levels as they are trained: clipped and rounded, in either order; at times over the most."""
    if step != 1.0 and net.chance(90):
        op_type, factor = net.pick(("Div", step), ("Mul", 1 / step))
        name = net.op(op_type, name, net.constant(np.float32(factor)))
    ends = [net.constant(np.float32(n)) for n in (0, levels)]
    first = net.chance(50)
    if first:
        name = net.op("Clip", name, *ends)
    if half_up:
        pair = name, net.constant(np.float32(0.5))
        name = net.op("Floor", net.op("Add", *(pair if net.chance(70) else pair[::-1])))
    else:
        name = net.op("Round", name)
    if not first:
        name = net.op("Clip", name, *ends)
    if net.chance(30):
        name = net.op("Div", name, net.constant(np.float32(levels)))
    return name


def neurons(net: Net, x: Tensor) -> Tensor:
    """Neurons of one level, at times of several."""
    return lif(net, x) if net.chance(80) else integer_neurons(net, x)
