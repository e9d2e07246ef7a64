"""Norse's LIFBox, IAF and LIF neurons, and its leaky integrators."""

from __future__ import annotations

import math
import sys
from typing import Any, NamedTuple

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
from hqc.frontend.neuron_names import NORSE, NORSE_INTEGRATORS
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
    "LICell": ("norse.torch.functional.leaky_integrator", "li_feed_forward_step"),
    "LI": ("norse.torch.functional.leaky_integrator", "li_feed_forward_step"),
    "LIBoxCell": ("norse.torch.functional.leaky_integrator_box", "li_box_feed_forward_step"),
}
"""What each kind does in a time step."""

_ROUNDING = 1e-6
"""What a product of a float32 and a time step may be off 1."""


@register
class Norse(Library):
    """Neurons that give back spikes and a state, which is handed on: `z, state = node(x, state)`.

    They fire above their threshold, not at it. Cells take a time step a call, the others all.
    """

    def has(self, module: nn.Module) -> bool:
        """Whether it hands on a state."""
        return isinstance(module, classes(_STATEFUL) + classes(NORSE_INTEGRATORS))

    def fires(self, node: nn.Module) -> bool:
        """Leaky integrators do not."""
        return not isinstance(node, classes(NORSE_INTEGRATORS))

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
        levels = (number("", key, getattr(node.p, key)) for key in ("v_th", "v_reset"))
        return tuple(level - _rest(node) for level in levels)

    def spikes(self, outputs: Any) -> Tensor:
        """The state is given back behind them."""
        return outputs[0]

    def taken(self, node: Any, inputs: tuple) -> Tensor:
        """The synaptic current, if it has one."""
        x, state = inputs[0], inputs[1] if len(inputs) > 1 else None
        if not hasattr(node.p, "tau_syn_inv"):
            return x
        current, taken = 0.0 if state is None else state.i, []
        for step in self.steps(node, x):
            taken.append(current + step)
            current = taken[-1] - node.dt * node.p.tau_syn_inv * taken[-1]
        return taken[0] if self.is_single_step(node) else torch.stack(taken)

    def traced(self, name: str, node: Any) -> nn.Module:
        """It hands on a sign of its own in place of potentials."""
        own = self.own(name, node)
        if not isinstance(own, LIF):
            return own
        return _Traced(own, self.is_single_step(node), _kept_current(name, node))

    def own(self, name: str, node: Any) -> nn.Module:
        """Potentials counted from where the node rests: v_leak, or v_reset of an `IAF`.

        It is given what a synaptic current comes to.
        """
        kinds = NORSE | NORSE_INTEGRATORS
        kind = plain_kind(name, node, "norse", kinds, "norse.torch.LIFBoxCell, or IAFCell")
        _check_activation(name, node, kind)
        if not self.fires(node):
            keep, leak = _kept_current(name, node), number(name, "v_leak", node.p.v_leak)
            weight = getattr(node, "input_weights", None)
            return _Integrator(_rate(name, node), keep, leak, self.is_single_step(node), weight)
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
        rate = _rate(name, node)
        if kind.__name__ == "LIFBoxCell":
            return _box(name, node, above, threshold, reset - rest, 1 / rate)
        return LIF(1 / rate, above, reset - rest)


def _check_activation(name: str, node: Any, kind: type) -> None:
    """Refuse a node that does something else than its kind in a time step."""
    if kind.__name__ in _STEPS:
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


def _rest(node: Any) -> float:
    """Where potentials start."""
    return number("", "v_leak", node.p.v_leak if hasattr(node.p, "v_leak") else node.p.v_reset)


def _surrogate(p: Any) -> Any:
    threshold = sys.modules["norse.torch.functional.threshold"].threshold

    def surrogate(x: Tensor) -> Tensor:
        return threshold(x, p.method, p.alpha)

    surrogate.__name__ = str(p.method)
    return surrogate


def _rate(name: str, node: Any, key: str = "tau_mem_inv") -> float:
    """What a time step takes of the way to where a potential tends, or of a current."""
    rate = node.dt * number(name, key, getattr(node.p, key))
    if not 0 < rate <= 1 + _ROUNDING:
        raise UnsupportedModelError(
            f"layer {name!r}: dt * {key} is {rate:g}",
            hint="it must be above 0, and at most 1, where nothing is kept",
        )
    return min(rate, 1.0)


def _kept_current(name: str, node: Any) -> float:
    """What a synaptic current keeps of itself in a time step; 0 of a node that has none."""
    if not hasattr(node.p, "tau_syn_inv"):
        return 0.0
    keep = 1 - _rate(name, node, "tau_syn_inv")
    return keep if keep > _ROUNDING else 0.0


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


class _State(NamedTuple):
    """What stands for a state. A neuron's potentials are of an op that no model may have."""

    v: Tensor
    i: Tensor


class _Traced(SteppedLIF):
    """A neuron while its network is traced: called as Norse's, with no potentials to read.

    Its synaptic current keeps a part of itself in a time step, and is written out.
    """

    def __init__(self, own: LIF, single_step: bool, keep: float) -> None:
        super().__init__(own, single_step)
        self._keep = keep
        self._last: _State | None = None

    def forward(self, x: Tensor, state: Any = None) -> Any:
        """x [...], of one time step or [t, ...] -> spikes of that shape, and a state."""
        rest = x if self._single_step else x[0]
        current = torch.zeros_like(rest)
        if state is None or state is not self._last:
            self.reset()
        elif self._keep:
            current = state.i
        if self._keep:
            x, current = self._charged(x, current)
        spikes = super().forward(x)
        v = torch.onnx.ops.symbolic(
            f"{DIALECT}::{POTENTIAL}", (rest,), {}, dtype=x.dtype, shape=rest.shape, version=1
        )
        self._last = _State(v, current)
        return spikes, self._last

    def _charged(self, x: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
        """The current in each step that x holds, and what is left of it behind them."""
        taken = []
        for step in x.unsqueeze(0) if self._single_step else x:
            taken.append(current + step)
            current = taken[-1] * self._keep
        return taken[0] if self._single_step else torch.stack(taken), current


class _Left(NamedTuple):
    """What an integrator hands on: its potentials, a current, and how far they are from rest."""

    v: Tensor
    i: Tensor
    above: Tensor


class _Integrator(nn.Module):
    """A leaky integrator, called as Norse's, in ops that torch traces."""

    def __init__(
        self, rate: float, keep: float, leak: float, single_step: bool, weight: Tensor | None
    ) -> None:
        super().__init__()
        self._rate, self._keep, self._leak, self._single_step = rate, keep, leak, single_step
        self._weight = None if weight is None else nn.Parameter(weight.detach())

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, _Left]:
        """x [...], of one time step or [t, ...] -> potentials of that shape, and a state."""
        if self._weight is not None:
            x = nn.functional.linear(x, self._weight)
        steps = x.unsqueeze(0) if self._single_step else x
        above = current = torch.zeros_like(steps[0])
        if state is not None:
            above = state.above if isinstance(state, _Left) else state.v - self._leak
            current = getattr(state, "i", current)
        potentials = []
        for step in steps:
            taken = current + step
            above = above + self._rate * (taken - above)
            current = taken * self._keep
            potentials.append(above + self._leak if self._leak else above)
        left = _Left(potentials[-1], current, above)
        return potentials[0] if self._single_step else torch.stack(potentials), left
