"""snnTorch's Leaky, Lapicque and Synaptic neurons."""

from __future__ import annotations

import math
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
from hqc.frontend.neuron_names import SNNTORCH
from hqc.frontend.stepped import POTENTIAL, SteppedLIF
from hqc.models.lif import LIF

_STATEFUL = {"snntorch._neurons.neurons": ("SpikingNeuron",)}

_RESETS = ("subtract", "zero", "none")


@register
class SnnTorch(Library):
    """Neurons of one time step a call, whose potentials `mem` are given back and handed on.

    They fire above their threshold, not at it, and are reset in the step after: what is subtracted
    then does not leak, as it does where a potential is reset at once.
    """

    memories = ("mem", "spk", "syn")

    def has(self, module: nn.Module) -> bool:
        """Whether it is a neuron of the library."""
        return isinstance(module, classes(_STATEFUL))

    def is_single_step(self, node: Any) -> bool:
        """Always."""
        return True

    def put_at_rest(self, node: Any) -> None:
        """As before the first call, when the number of neurons is not known."""
        for key in ("mem", "syn"):
            if hasattr(node, key):
                setattr(node, key, torch.zeros(0))

    def state(self, node: Any, inputs: tuple) -> Tensor | None:
        """What is handed on last, or what it keeps itself."""
        place = 2 if hasattr(node, "syn") else 1
        mem = inputs[place] if len(inputs) > place and inputs[place] is not None else node.mem
        return mem if mem.numel() else None

    def taken(self, node: Any, inputs: tuple) -> Tensor:
        """A synaptic current, which it keeps."""
        return getattr(node, "syn", inputs[0])

    def is_rest(self, node: nn.Module, state: Tensor) -> bool:
        """Zeros are, which `init_leaky` gives."""
        return not torch.any(state)

    def levels(self, node: Any) -> tuple[float, ...]:
        """Its threshold."""
        return (number("", "threshold", node.threshold),)

    def spikes(self, outputs: Any) -> Tensor:
        """Potentials are given back behind them, but for hidden ones."""
        return outputs[0] if isinstance(outputs, tuple) else outputs

    def traced(self, name: str, node: Any) -> nn.Module:
        """It hands on a sign of its own in place of potentials."""
        own, hidden = self.own(name, node), (bool(node.init_hidden), bool(node.output))
        return (
            _TracedSynaptic(own, *hidden, _alpha(name, node))
            if hasattr(node, "syn")
            else _Traced(own, *hidden)
        )

    def own(self, name: str, node: Any) -> LIF:
        """See `_leaky`, `_lapicque` and `_synaptic`."""
        kind = plain_kind(name, node, "snntorch", SNNTORCH, "snntorch.Leaky, Lapicque or Synaptic")
        for key in ("inhibition", "state_quant"):
            if getattr(node, key):
                raise UnsupportedModelError(
                    f"layer {name!r}: {key} is set", hint="train without, potentials are float32"
                )
        if number(name, "graded_spikes_factor", node.graded_spikes_factor) != 1:
            raise UnsupportedModelError(
                f"layer {name!r}: its spikes are {float(node.graded_spikes_factor):g}, not 1",
                hint="multiply behind the layer",
            )
        check_step(name, node.spike_grad, strict=True)
        threshold = number(name, "threshold", node.threshold)
        if not threshold > 0:
            raise UnsupportedModelError(
                f"layer {name!r}: threshold is {threshold:g}",
                hint="neurons that fire without any input are not compiled",
            )
        reset = _RESETS[int(node.reset_mechanism_val)]
        make = {"Leaky": _leaky, "Lapicque": _lapicque, "Synaptic": _synaptic}[kind.__name__]
        return make(name, node, threshold, reset)


def _above(threshold: float) -> float:
    """The least float32 that is above the threshold."""
    return float(np.nextafter(np.float32(threshold), np.float32(math.inf)))


def _leaky(name: str, node: Any, threshold: float, reset: str) -> LIF:
    """mem = beta * mem + x, less the threshold where it fired a step before.

    That is a potential of which threshold / beta is taken at once. To zero: at once or not is the
    same.
    """
    beta = min(max(number(name, "beta", node.beta), 0.0), 1.0)
    tau = math.inf if beta == 1 else 1 / (1 - beta)
    if reset == "zero":
        return LIF(tau, _above(threshold), 0.0, decay_input=False)
    if reset == "subtract" and not node.reset_delay:
        raise UnsupportedModelError(
            f"layer {name!r}: reset_delay is False with reset_mechanism 'subtract'",
            hint="train with reset_delay=True, or with reset_mechanism='zero'",
        )
    drop = _subtracted(name, threshold, beta, "beta") if reset == "subtract" else 0.0
    return LIF(tau, _above(threshold), None, decay_input=False, drop=drop)


def _lapicque(name: str, node: Any, threshold: float, reset: str) -> LIF:
    """mem = (1 - step / (R C)) * mem + step / C * x: R times neurons whose input decays."""
    R, C, step = (number(name, key, getattr(node, key)) for key in ("R", "C", "time_step"))
    tau = R * C / step
    if not tau >= 1:
        raise UnsupportedModelError(
            f"layer {name!r}: R * C / time_step is {tau:g}",
            hint="it must be at least 1, where nothing is kept",
        )
    if reset == "zero":
        raise UnsupportedModelError(
            f"layer {name!r}: a Lapicque neuron that is reset to zero loses the input of the step "
            "after",
            hint="use reset_mechanism='subtract', or snntorch.Leaky",
        )
    drop = _subtracted(name, threshold, 1 - 1 / tau, "keep") if reset == "subtract" else 0.0
    return LIF(tau, _above(threshold) / R, None, decay_input=True, drop=drop / R)


def _synaptic(name: str, node: Any, threshold: float, reset: str) -> LIF:
    """A Leaky neuron of a current, syn = alpha * syn + x, which a spike does not change."""
    if reset == "zero" and node.reset_delay:
        raise UnsupportedModelError(
            f"layer {name!r}: a Synaptic neuron that is reset to zero loses the current of the "
            "step after",
            hint="use reset_delay=False, or reset_mechanism='subtract'",
        )
    return _leaky(name, node, threshold, reset)


def _alpha(name: str, node: Any) -> float:
    """What a synaptic current keeps of itself in a time step."""
    return min(max(number(name, "alpha", node.alpha), 0.0), 1.0)


def _subtracted(name: str, threshold: float, keep: float, key: str) -> float:
    if keep < 2.0**-10:
        raise UnsupportedModelError(
            f"layer {name!r}: {key} is {keep:g}, with reset_mechanism 'subtract'",
            hint="a spike would be subtracted from a potential that is not kept: use 'zero'",
        )
    return threshold / keep


class _Traced(SteppedLIF):
    """A neuron while its network is traced: called as snnTorch's, with no potentials to read.

    `mem` is a value of an op that no model may have: what reads it is refused by that.
    """

    def __init__(self, own: LIF, hidden: bool, output: bool) -> None:
        super().__init__(own, single_step=True)
        self._hidden, self._output = hidden, output
        self._mem: Tensor | None = None

    def reset_mem(self) -> Tensor:
        """Come to rest."""
        self.reset()
        self._mem = torch.zeros(0)
        return self._mem

    init_leaky = init_lapicque = reset_mem

    def forward(self, x: Tensor, mem: Tensor | None = None) -> Any:
        """x [...] -> spikes [...], and what stands for its potentials."""
        return self._fired(x, mem)

    def _fired(self, x: Tensor, mem: Tensor | None) -> Any:
        if mem is not None and mem is not self._mem:
            self.reset()
        spikes = SteppedLIF.forward(self, x)
        if self._hidden and not self._output:
            return spikes
        self._mem = torch.onnx.ops.symbolic(
            f"{DIALECT}::{POTENTIAL}", (x,), {}, dtype=x.dtype, shape=x.shape, version=1
        )
        return spikes, self._mem


class _TracedSynaptic(_Traced):
    """A neuron of a synaptic current, which is written out, and may be read."""

    def __init__(self, own: LIF, hidden: bool, output: bool, alpha: float) -> None:
        super().__init__(own, hidden, output)
        self._alpha = alpha
        self._syn = torch.zeros(0)

    def reset_mem(self) -> Any:
        """Come to rest."""
        self._syn = torch.zeros(0)
        return self._syn, super().reset_mem()

    init_synaptic = reset_mem

    def forward(  # type: ignore[override]  # as a Synaptic is called
        self, x: Tensor, syn: Tensor | None = None, mem: Tensor | None = None
    ) -> Any:
        """x [...] -> spikes [...], the current, and what stands for potentials."""
        syn = self._syn if syn is None else syn
        self._syn = self._alpha * syn + x if syn.shape == x.shape else x
        outputs = self._fired(self._syn, mem)
        return (outputs[0], self._syn, outputs[1]) if isinstance(outputs, tuple) else outputs
