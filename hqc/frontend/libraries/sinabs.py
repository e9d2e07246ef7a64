"""sinabs' LIF and IAF layers that fire at most once a time step."""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from torch import Tensor, nn

from hqc.errors import UnsupportedModelError
from hqc.frontend.libraries.library import Library, classes, number, plain_kind, register
from hqc.frontend.neuron_names import SINABS
from hqc.frontend.stepped import SteppedLIF
from hqc.models.lif import LIF

_STATEFUL = {"sinabs.layers.stateful_layer": ("StatefulLayer",)}
_SETTINGS = frozenset({"tau_mem", "spike_threshold", "alpha_mem", "alpha_mem_calculated"})
_SPIKES = "sinabs.activation.spike_generation"
_RESETS = "sinabs.activation.reset_mechanism"


@register
class Sinabs(Library):
    """Layers of batch before time, [N, T, ...], or of both in one axis, whose potentials stay."""

    memories = ("v_mem", "i_syn")

    def has(self, module: nn.Module) -> bool:
        """Whether it is a stateful layer."""
        return isinstance(module, classes(_STATEFUL))

    def is_single_step(self, node: nn.Module) -> bool:
        """Never."""
        return False

    def called_otherwise(self, node: nn.Module) -> str | None:
        """All are."""
        return "takes batch before time, or both in one axis"

    def put_at_rest(self, node: Any) -> None:
        """As before the first call, when the number of neurons is not known."""
        for key in list(node._buffers):
            setattr(node, key, torch.zeros(0))

    def state(self, node: Any, inputs: tuple) -> Tensor | None:
        """What it keeps."""
        mem = node._buffers.get("v_mem")
        return mem if mem is not None and mem.numel() else None

    def is_rest(self, node: nn.Module, state: Tensor) -> bool:
        """Zeros are."""
        return not torch.any(state)

    def levels(self, node: Any) -> tuple[float, ...]:
        """Its threshold."""
        return (float(node.spike_threshold),)

    def steps(self, node: Any, x: Tensor) -> Tensor:
        """Time first."""
        return _unsqueezed(node, x).transpose(0, 1)

    def traced(self, name: str, node: Any) -> nn.Module:
        """Time is first while it fires."""
        return _Traced(self.own(name, node), name, node)

    def own(self, name: str, node: Any) -> LIF:
        """v = alpha v + x, or + (1 - alpha) x with norm_input."""
        instead = "sinabs.layers.LIF, IAF, LIFSqueeze or IAFSqueeze"
        plain_kind(name, node, "sinabs", SINABS, instead, _SETTINGS)
        if node.does_spike and not _fires_once(node.spike_fn):
            called = getattr(node.spike_fn, "__name__", type(node.spike_fn).__name__)
            raise UnsupportedModelError(
                f"layer {name!r}: its neurons may fire several times in a time step ({called})",
                hint="train with spike_fn=sinabs.activation.SingleSpike",
            )
        for key, why in (
            ("tau_syn", "synaptic currents last beyond their time step"),
            ("alpha_syn", "synaptic currents last beyond their time step"),
            ("min_v_mem", "potentials are not bounded below"),
        ):
            if getattr(node, key, None) is not None:
                raise UnsupportedModelError(
                    f"layer {name!r}: {key} is set", hint=f"train with {key}=None: in a LIF {why}"
                )
        threshold = number(name, "spike_threshold", node.spike_threshold)
        if not threshold > 0:
            raise UnsupportedModelError(
                f"layer {name!r}: spike_threshold is {threshold:g}",
                hint="neurons that fire without any input are not compiled",
            )
        reset, drop = _reset(name, node.reset_fn)
        alpha = number(name, "alpha_mem", node.alpha_mem_calculated)
        if not 0 <= alpha <= 1:
            raise UnsupportedModelError(
                f"layer {name!r}: alpha_mem is {alpha:g}", hint="it must be from 0 to 1"
            )
        if alpha == 1 and node.norm_input:
            raise UnsupportedModelError(
                f"layer {name!r}: norm_input is set with an infinite tau_mem: no input arrives",
                hint="train with norm_input=False, or use sinabs.layers.IAF",
            )
        tau = math.inf if alpha == 1 else 1 / (1 - alpha)
        return LIF(tau, threshold, reset, decay_input=bool(node.norm_input), drop=drop)


def _fires_once(spike_fn: Any) -> bool:
    known = sys.modules[_SPIKES]
    if isinstance(spike_fn, known.MaxSpike):
        return type(spike_fn) is known.MaxSpike and spike_fn.max_num_spikes_per_bin == 1
    return spike_fn is known.SingleSpike


def _reset(name: str, reset_fn: Any) -> tuple[float | None, float | None]:
    """What potentials are set to, or what is subtracted, if not the threshold."""
    known = sys.modules[_RESETS]
    if type(reset_fn) is known.MembraneSubtract:
        return None, number(name, "subtract_value", reset_fn.subtract_value)
    if type(reset_fn) is not known.MembraneReset:
        raise UnsupportedModelError(
            f"layer {name!r}: its reset_fn is {type(reset_fn).__qualname__}",
            hint="use MembraneSubtract or MembraneReset of sinabs.activation",
        )
    if reset_fn.reset_value != 0:
        raise UnsupportedModelError(
            f"layer {name!r}: its reset_value is {reset_fn.reset_value:g}, which sinabs adds to "
            "all potentials in every time step, of neurons that did not fire too",
            hint="use MembraneReset()",
        )
    return 0.0, None


def _unsqueezed(node: Any, x: Tensor) -> Tensor:
    """[N, T, ...], of that or of [N * T, ...]."""
    if not hasattr(node, "num_timesteps"):
        return x
    return x.reshape(node.batch_size, node.num_timesteps, *x.shape[1:])


class _Traced(SteppedLIF):
    """A layer while its network is traced: called as sinabs', of one recording."""

    def __init__(self, own: LIF, name: str, node: Any) -> None:
        super().__init__(own, single_step=False)
        self._name, self._squeezed = name, hasattr(node, "num_timesteps")
        self._given = (node.batch_size, node.num_timesteps) if self._squeezed else (-1, -1)

    def forward(self, x: Tensor) -> Tensor:
        """[1, T, ...] or [T, ...] -> spikes of the same shape."""
        if not self._squeezed:
            return super().forward(x.transpose(0, 1)).transpose(0, 1)
        batch, steps = self._given
        if batch not in (-1, 1) or steps not in (-1, len(x)):
            raise UnsupportedModelError(
                f"layer {self._name!r}: batch_size is {batch} and num_timesteps {steps}, of frames "
                f"of {len(x)} time steps of one recording",
                hint="sinabs.utils.set_batch_size(module, 1), and as many time steps as are given",
            )
        return super().forward(x.unsqueeze(1)).squeeze(1)
