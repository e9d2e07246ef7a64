"""SpikingJelly's LIF, IF and parametric LIF nodes, of its older package too."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from hqc.errors import UnsupportedModelError
from hqc.frontend.libraries.library import (
    Library,
    check_step,
    classes,
    number,
    plain_kind,
    register,
)
from hqc.frontend.libraries.written_out import Integrator, Levels
from hqc.frontend.neuron_names import LEVELS, SPIKINGJELLY, SPIKINGJELLY_INTEGRATORS
from hqc.models.lif import LIF

_STATEFUL = {
    "spikingjelly.activation_based.base": ("MemoryModule",),
    "spikingjelly.clock_driven.base": ("MemoryModule",),
}
_STATELESS_IN_EVALUATION = {"spikingjelly.activation_based.layer": ("Dropout", "Dropout2d")}
_STATELESS_IN_ALL_STEPS = {"spikingjelly.activation_based.neuron": ("SlidingPSN",)}

_SETTINGS = frozenset({"tau", "w", "v_threshold", "v_reset", "decay_input", "surrogate_function"})


@register
class SpikingJelly(Library):
    """Nodes that keep their potentials as memories of a `MemoryModule`."""

    all_steps = "functional.set_step_mode(model, 'm'), and give frames [T, N, ...]"

    memories = ("v", "v_seq", "spike")

    def has(self, module: nn.Module) -> bool:
        """Whether it has memories; dropout has only in training, PSN only step by step."""
        stateless = classes(_STATELESS_IN_EVALUATION)
        if not self.is_single_step(module):
            stateless += classes(_STATELESS_IN_ALL_STEPS)
        stateful = classes(_STATEFUL) + classes(SPIKINGJELLY_INTEGRATORS)
        return isinstance(module, stateful) and not isinstance(module, stateless)

    def fires(self, node: nn.Module) -> bool:
        """Neither integrators do, nor neurons of several levels, which are rounded activations."""
        return type(node) not in classes(SPIKINGJELLY_INTEGRATORS) + classes(LEVELS)

    def is_single_step(self, node: nn.Module) -> bool:
        """In the older package the class says so."""
        kinds = type(node).__mro__
        if any(c.__module__.startswith("spikingjelly.clock_driven") for c in kinds):
            return not any(c.__name__.startswith("MultiStep") for c in kinds)
        return getattr(node, "step_mode", "m") == "s"

    def put_at_rest(self, node: Any) -> None:
        """As `functional.reset_net` does; integrators are at rest in every call."""
        if hasattr(node, "_memories_rv"):
            node._memories = dict(node._memories_rv)

    def state(self, node: nn.Module, inputs: tuple) -> Tensor | None:
        """The first memory that is a tensor; at rest they are numbers."""
        memories = getattr(node, "_memories", {}).values()
        return next((v for v in memories if isinstance(v, Tensor)), None)

    def levels(self, node: nn.Module) -> tuple[float, ...]:
        """Its threshold and reset."""
        return tuple(float(getattr(node, k, None) or 0.0) for k in ("v_threshold", "v_reset"))

    def traced(self, name: str, node: Any) -> nn.Module:
        """Neurons of several levels are written out; they are trained as they are."""
        if type(node) not in classes(LEVELS):
            return super().traced(name, node)
        if self.is_single_step(node):
            raise UnsupportedModelError(
                f"layer {name!r} takes one time step a call", hint=self.all_steps
            )
        tau, threshold = (number(name, key, getattr(node, key)) for key in ("tau", "v_threshold"))
        return Levels(tau, threshold, int(node.surrogate_function.max_spike_count))

    def own(self, name: str, node: Any) -> nn.Module:
        """Potentials counted from where the node rests, starts and is reset."""
        if type(node) in classes(SPIKINGJELLY_INTEGRATORS):
            tau = number(name, "tau", getattr(node, "tau", math.inf))
            return Integrator(tau, node.decode)
        _check_kind(name, node)
        threshold, reset = (
            number(name, key, getattr(node, key)) for key in ("v_threshold", "v_reset")
        )
        rest = reset or 0.0
        if not threshold > rest:
            raise UnsupportedModelError(
                f"layer {name!r}: v_threshold is {threshold:g}, not above the {rest:g} of its "
                "reset",
                hint="neurons that fire without any input are not compiled",
            )
        _check_start(name, node, rest)
        _check_surrogate(name, node.surrogate_function)
        levels = (threshold - rest, None if reset is None else 0.0)
        learned, tau = getattr(node, "w", None), getattr(node, "tau", None)
        if learned is not None:
            tau = 1 / torch.sigmoid(torch.tensor(number(name, "w", learned))).item()
        elif tau is not None:
            tau = number(name, "tau", tau)
        else:
            return LIF(math.inf, *levels, decay_input=False)
        if not tau >= 1:
            raise UnsupportedModelError(
                f"layer {name!r}: tau is {tau:g}",
                hint="tau must be at least 1, where nothing is kept",
            )
        return LIF(tau, *levels, getattr(node, "decay_input", True))


def _check_kind(name: str, node: nn.Module) -> None:
    """Refuse a node that does something else than its class of the library does over time."""
    others = "LIFNode, ParametricLIFNode or IFNode, and take other layers with a state out"
    plain_kind(name, node, "spikingjelly", SPIKINGJELLY, others, _SETTINGS)
    if getattr(node, "_neuron_precision", None) is not None:
        raise UnsupportedModelError(
            f"layer {name!r} computes in reduced precision", hint="neurons compute in float32"
        )


def _check_start(name: str, node: nn.Module, rest: float) -> None:
    start = getattr(node, "_memories_rv", {}).get("v", rest)
    if isinstance(start, Tensor) or start != rest:
        raise UnsupportedModelError(
            f"layer {name!r}: its potentials are set to {start} at the start, not to {rest:g}",
            hint="potentials start where they are reset to, or at 0 with soft reset",
        )


def _check_surrogate(name: str, surrogate: Any) -> None:
    if not getattr(surrogate, "spiking", True):
        raise UnsupportedModelError(
            f"layer {name!r}: its surrogate_function gives no spikes (spiking is False)",
            hint="node.surrogate_function.set_spiking_mode(True)",
        )
    check_step(name, surrogate, strict=False)
