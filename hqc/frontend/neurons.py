"""SpikingJelly's neurons as ours, so that its networks are trained, searched and exported alike."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hqc.errors import UnsupportedModelError
from hqc.frontend.neuron_names import NODES
from hqc.frontend.stepped import SteppedLIF
from hqc.models.lif import LIF

_STATEFUL = {
    "spikingjelly.activation_based.base": ("MemoryModule",),
    "spikingjelly.clock_driven.base": ("MemoryModule",),
}
_STATELESS_IN_EVALUATION = {"spikingjelly.activation_based.layer": ("Dropout", "Dropout2d")}

_SETTINGS = {"tau", "w", "v_threshold", "v_reset", "decay_input", "surrogate_function"}
_SAME_NEURON = {"__init__", "extra_repr", "__repr__", "__annotate__", "__dict__", "__weakref__"}
"""What a class of the user's may define anew and still be the neuron that it derives from."""


def with_own_neurons(model: nn.Module) -> nn.Module:
    """Replace SpikingJelly's LIF, IF and parametric LIF nodes by `LIF`, in place; return the model.

    Potentials start at rest in every call, so nothing needs to be reset; a learned tau or threshold
    stays as it is; training goes on with our surrogate gradient. Raises `UnsupportedModelError`,
    naming the layer, for other neurons, for nodes in single-step mode, and for nodes that were
    changed in a way that `LIF` would not follow; then no node has been replaced.
    """
    for name, node in model.named_modules():
        if is_stateful(node) and is_single_step(node):
            raise UnsupportedModelError(
                f"layer {name!r} is in single-step mode",
                hint="functional.set_step_mode(model, 'm'), and give frames [T, N, ...]",
            )
    return _replaced(model, _own)


def with_stepped_neurons(model: nn.Module) -> nn.Module:
    """The same for a module that is traced: nodes may take a time step a call, and remember it."""

    def stepped(name: str, node: nn.Module) -> LIF | None:
        own = _own(name, node)
        return own if isinstance(node, LIF) else SteppedLIF(own, is_single_step(node))

    return _replaced(model, stepped)


def _replaced(model: nn.Module, by: Callable[[str, nn.Module], LIF | None]) -> nn.Module:
    own = {m: by(n, m) for n, m in model.named_modules() if isinstance(m, LIF) or is_stateful(m)}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if name and own.get(module):
            parent_name, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent_name), child, own[module])
    return own.get(model) or model


def is_stateful(module: nn.Module) -> bool:
    """Whether a module is one of SpikingJelly's that keep a state from one call to the next."""
    return isinstance(module, _classes(_STATEFUL)) and not isinstance(
        module, _classes(_STATELESS_IN_EVALUATION)
    )


def is_single_step(node: nn.Module) -> bool:
    """Whether it takes one time step a call; in the older package the class says so."""
    classes = type(node).__mro__
    if any(c.__module__.startswith("spikingjelly.clock_driven") for c in classes):
        return not any(c.__name__.startswith("MultiStep") for c in classes)
    return getattr(node, "step_mode", "m") == "s"


def _classes(names: Mapping[str, tuple[str, ...]]) -> tuple[type, ...]:
    """The library's own classes, by identity; none where nobody has imported the library."""
    modules = {name: sys.modules[name] for name in names if name in sys.modules}
    found = (getattr(modules[m], name, None) for m in modules for name in names[m])
    return tuple(c for c in found if c is not None)


def _own(name: str, node: nn.Module) -> LIF | None:
    """The `LIF` that does what a node does; None for a `LIF` that is exported as it is."""
    if isinstance(node, LIF):
        _check_unchanged(name, node, LIF)
        settings = {key: getattr(node, key) for key in ("tau", "v_threshold", "v_reset")}
        numbers = {key: _number(name, key, value) for key, value in settings.items()}
        learned = any(isinstance(value, Tensor) for value in settings.values())
        return LIF(**numbers, decay_input=node.decay_input) if learned else None
    _check_kind(name, node)
    threshold, reset = (
        _number(name, key, getattr(node, key)) for key in ("v_threshold", "v_reset")
    )
    # Theirs rests, starts and is reset at v_reset. Potentials counted from there leak to 0, start
    # at 0 and are reset to 0, as ours.
    rest = reset or 0.0
    if not threshold > rest:
        raise UnsupportedModelError(
            f"layer {name!r}: v_threshold is {threshold:g}, not above the {rest:g} of its reset",
            hint="neurons that fire without any input are not compiled",
        )
    _check_start(name, node, rest)
    _check_surrogate(name, node.surrogate_function)
    levels = (threshold - rest, None if reset is None else 0.0)
    learned, tau = getattr(node, "w", None), getattr(node, "tau", None)
    if learned is not None:
        tau = 1 / torch.sigmoid(torch.tensor(_number(name, "w", learned))).item()
    elif tau is not None:
        tau = _number(name, "tau", tau)
    else:
        return LIF(math.inf, *levels, decay_input=False)
    if not tau >= 1:
        raise UnsupportedModelError(
            f"layer {name!r}: tau is {tau:g}", hint="tau must be at least 1, where nothing is kept"
        )
    return LIF(tau, *levels, getattr(node, "decay_input", True))


def _check_kind(name: str, node: nn.Module) -> None:
    """Refuse a node that does something else than its class of the library does over time."""
    kind = next((c for c in type(node).__mro__ if c in _classes(NODES)), None)
    first = next(c for c in type(node).__mro__ if c.__module__.startswith("spikingjelly."))
    if kind is None or first is not kind:
        raise UnsupportedModelError(
            f"layer {name!r}: there is no {type(node).__module__}.{type(node).__qualname__} "
            "among the neurons that compile",
            hint="use LIFNode, ParametricLIFNode or IFNode, and take other layers with a state out",
        )
    _check_unchanged(name, node, kind)
    if node._forward_hooks or node._forward_pre_hooks:
        raise UnsupportedModelError(
            f"layer {name!r} has hooks, which are no part of the neuron that would be compiled",
            hint="remove monitors before; write what changes spikes into the network's forward",
        )
    if getattr(node, "_neuron_precision", None) is not None:
        raise UnsupportedModelError(
            f"layer {name!r} computes in reduced precision", hint="neurons compute in float32"
        )


def _check_unchanged(name: str, node: nn.Module, kind: type) -> None:
    """Refuse a node with a method that is not its kind's, from a class of the user's or set."""
    changed = {
        key
        for c in type(node).__mro__
        if c not in kind.__mro__
        for key, value in vars(c).items()
        if (callable(value) or hasattr(value, "__get__"))
        and (hasattr(kind, key) or key in _SETTINGS)
    } | {key for key, value in vars(node).items() if callable(value) and hasattr(kind, key)}
    if own := sorted(changed - _SAME_NEURON):
        raise UnsupportedModelError(
            f"layer {name!r} is no plain {kind.__name__}: its {', '.join(own)} is its own",
            hint=f"hqc compiles what {kind.__module__}.{kind.__name__} does",
        )


def _number(name: str, key: str, value: float | Tensor | None) -> float | None:
    """A setting as one finite number, or none; a tau may be infinite."""
    if value is None:
        return None
    if isinstance(value, Tensor) and value.numel() != 1:
        raise UnsupportedModelError(
            f"layer {name!r}: {key} has {value.numel()} values, shape {list(value.shape)}",
            hint=f"neurons of one layer share one {key}",
        )
    number = float(value.detach() if isinstance(value, Tensor) else value)
    if math.isnan(number) or (math.isinf(number) and key != "tau"):
        raise UnsupportedModelError(
            f"layer {name!r}: {key} is {number}", hint="did training diverge?"
        )
    return number


def _check_start(name: str, node: nn.Module, rest: float) -> None:
    start = getattr(node, "_memories_rv", {}).get("v", rest)
    if isinstance(start, Tensor) or start != rest:
        raise UnsupportedModelError(
            f"layer {name!r}: its potentials are set to {start} at the start, not to {rest:g}",
            hint="potentials start where they are reset to, or at 0 with soft reset",
        )


def _check_surrogate(name: str, surrogate: Any) -> None:
    """Refuse one that is not, forward, a step at 0: 1 for -0 and 0 and above, 0 below."""
    if not getattr(surrogate, "spiking", True):
        raise UnsupportedModelError(
            f"layer {name!r}: its surrogate_function gives no spikes (spiking is False)",
            hint="node.surrogate_function.set_spiking_mode(True)",
        )
    sizes = torch.tensor(
        [0, 1e-45, 1e-38, *torch.logspace(-20, 20, 161), *torch.linspace(0, 4, 99)]
    )
    x = torch.cat([-sizes, sizes])
    try:
        with torch.no_grad():
            is_step = torch.equal(surrogate(x), (x >= 0).to(x))
    except Exception:
        is_step = False
    if not is_step:
        raise UnsupportedModelError(
            f"layer {name!r}: its surrogate_function {type(surrogate).__name__} is, forward, "
            "no step at 0",
            hint="neurons fire where the potential reaches v_threshold; move that instead",
        )
