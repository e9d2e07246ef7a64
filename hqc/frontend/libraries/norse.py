"""Norse's LIFBox, IAF and LIF neurons, the last where its synaptic current keeps nothing."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hqc.dialect import DIALECT
from hqc.errors import UnsupportedModelError
from hqc.frontend.libraries.library import (
    Library,
    check_step,
    classes,
    number,
    plain_kind,
    register,
)
from hqc.frontend.neuron_names import NORSE
from hqc.frontend.stepped import POTENTIAL, SteppedLIF
from hqc.models.lif import LIF

_ALL_STEPS = {"norse.torch.module.snn": ("SNN", "SNNRecurrent")}
_STATEFUL = {
    "norse.torch.module.snn": ("SNN", "SNNRecurrent", "SNNCell", "SNNRecurrentCell"),
}

_STEPS = {
    "LIFBoxCell": ("norse.torch.functional.lif_box", "lif_box_feed_forward_step"),
    "LIFCell": ("norse.torch.functional.lif", "lif_feed_forward_step"),
    "LIF": ("norse.torch.functional.lif", "lif_feed_forward_step"),
    "IAFCell": ("norse.torch.functional.iaf", "iaf_feed_forward_step"),
    "IAF": ("norse.torch.functional.iaf", "iaf_feed_forward_step"),
}
"""What each kind does in a time step."""


@register
class Norse(Library):
    """Neurons that give back spikes and a state, which is handed on: `z, state = node(x, state)`.

    They fire above their threshold, not at it. Cells take a time step a call, the others all.
    """

    def has(self, module: nn.Module) -> bool:
        """Whether it hands on a state."""
        return isinstance(module, classes(_STATEFUL))

    def is_single_step(self, node: nn.Module) -> bool:
        """Cells do."""
        return not isinstance(node, classes(_ALL_STEPS))

    def called_otherwise(self, node: nn.Module) -> str | None:
        """All are."""
        return super().called_otherwise(node) or "gives back a state besides spikes"

    def put_at_rest(self, node: nn.Module) -> None:
        """They keep nothing themselves."""

    def state(self, node: nn.Module, inputs: tuple) -> Tensor | None:
        """What is handed on; nothing means rest."""
        return inputs[1].v if len(inputs) > 1 and inputs[1] is not None else None

    def left(self, node: nn.Module, inputs: tuple, outputs: Any) -> Tensor:
        """In the state that is given back."""
        return outputs[1].v

    def is_rest(self, node: Any, state: Tensor) -> bool:
        """Where all are at the leak potential, or what integrators are reset to."""
        return bool((state == _rest(node)).all())

    def levels(self, node: Any) -> tuple[float, ...]:
        """Its threshold and reset, counted from where it rests."""
        return tuple(float(level) - _rest(node) for level in (node.p.v_th, node.p.v_reset))

    def spikes(self, outputs: Any) -> Tensor:
        """The state is given back behind them."""
        return outputs[0]

    def traced(self, name: str, node: Any) -> nn.Module:
        """It hands on a sign of its own in place of a state."""
        return _Traced(self.own(name, node), self.is_single_step(node))

    def own(self, name: str, node: Any) -> LIF:
        """Potentials counted from where the node rests: v_leak, or v_reset of an integrator."""
        kind = plain_kind(name, node, "norse", NORSE, "norse.torch.LIFBoxCell, or IAFCell")
        module, step = _STEPS[kind.__name__]
        if node.activation is not getattr(sys.modules[module], step):
            called = getattr(node.activation, "__name__", type(node.activation).__name__)
            raise UnsupportedModelError(
                f"layer {name!r}: its activation is {called}, not {step}",
                hint="adjoint methods train: set method='super', say, once that is done",
            )
        if getattr(node, "record_states", False):
            raise UnsupportedModelError(
                f"layer {name!r}: record_states is set", hint="a compiled model gives spikes alone"
            )
        check_step(name, _surrogate(node.p), strict=True)
        threshold, reset = (number(name, key, getattr(node.p, key)) for key in ("v_th", "v_reset"))
        rest = number(name, "v_leak", _rest(node))
        if not threshold > max(rest, reset):
            raise UnsupportedModelError(
                f"layer {name!r}: v_th is {threshold:g}, not above v_leak and v_reset, {rest:g} "
                f"and {reset:g}",
                hint="neurons that fire without any input are not compiled",
            )
        above = float(np.nextafter(np.float32(threshold - rest), np.float32(math.inf)))
        if kind.__name__.startswith("IAF"):
            return LIF(math.inf, above, 0.0, decay_input=False)
        if kind.__name__.startswith("LIF") and "Box" not in kind.__name__:
            _check_current(name, node)
        rate = node.dt * number(name, "tau_mem_inv", node.p.tau_mem_inv)
        if not 0 < rate <= 1:
            raise UnsupportedModelError(
                f"layer {name!r}: dt * tau_mem_inv is {rate:g}",
                hint="it must be above 0, and at most 1, where nothing is kept",
            )
        if kind.__name__ == "LIFBoxCell":
            return _box(name, node, above, threshold, reset - rest, 1 / rate)
        return LIF(1 / rate, above, reset - rest)


def _rest(node: Any) -> float:
    """Where potentials start."""
    return float(getattr(node.p, "v_leak", node.p.v_reset))


def _surrogate(p: Any) -> Any:
    threshold = sys.modules["norse.torch.functional.threshold"].threshold

    def surrogate(x: Tensor) -> Tensor:
        return threshold(x, p.method, p.alpha)

    surrogate.__name__ = str(p.method)
    return surrogate


def _check_current(name: str, node: Any) -> None:
    """Refuse a synaptic current that lasts beyond its time step."""
    rate = node.dt * number(name, "tau_syn_inv", node.p.tau_syn_inv)
    if abs(rate - 1) > 1e-6:
        raise UnsupportedModelError(
            f"layer {name!r}: its synaptic current keeps {1 - rate:g} of itself in a time step",
            hint="use norse.torch.LIFBoxCell, which has none, or tau_syn_inv = 1 / dt",
        )


def _box(name: str, node: Any, above: float, threshold: float, reset: float, tau: float) -> LIF:
    """Reset to v_reset, or by subtraction of v_th itself, wherever the leak is."""
    resets = sys.modules["norse.torch.functional.reset"]
    if node.p.reset_method is resets.reset_value:
        return LIF(tau, above, reset)
    if node.p.reset_method is resets.reset_subtract:
        return LIF(tau, above, None, drop=threshold)
    called = getattr(node.p.reset_method, "__name__", type(node.p.reset_method).__name__)
    raise UnsupportedModelError(
        f"layer {name!r}: its reset_method is {called}",
        hint="use reset_value or reset_subtract of norse.torch.functional.reset",
    )


class _State:
    """What stands for a state: its potentials are of an op that no model may have."""

    def __init__(self, v: Tensor) -> None:
        self.v = v


class _Traced(SteppedLIF):
    """A neuron while its network is traced: called as Norse's, with no potentials to read."""

    def __init__(self, own: LIF, single_step: bool) -> None:
        super().__init__(own, single_step)
        self._last: Any = None

    def forward(self, x: Tensor, state: Any = None) -> Any:
        """x [...], of one time step or [t, ...] -> spikes of that shape, and a state."""
        if state is None or state is not self._last:
            self.reset()
        spikes = super().forward(x)
        rest = x if self._single_step else x[0]
        v = torch.onnx.ops.symbolic(
            f"{DIALECT}::{POTENTIAL}", (rest,), {}, dtype=x.dtype, shape=rest.shape, version=1
        )
        self._last = _State(v)
        return spikes, self._last
