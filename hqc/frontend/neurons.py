"""Other libraries' neurons as ours, so that their networks are trained, searched and exported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from hqc.errors import UnsupportedModelError
from hqc.frontend.libraries import library_of
from hqc.frontend.libraries.library import check_unchanged, number
from hqc.models.lif import LIF


def with_own_neurons(model: nn.Module) -> nn.Module:
    """Replace the neurons of libraries that hqc knows by `LIF`, in place; return the model.

    Potentials start at rest in every call, so nothing needs to be reset; a learned tau or threshold
    stays as it is; training goes on with our surrogate gradient. Raises `UnsupportedModelError`,
    naming the layer, for other neurons, for those that take one time step a call or are called in
    another way than `LIF`, and for those that were changed in a way that it would not follow; then
    none has been replaced.
    """
    for name, node in model.named_modules():
        library = library_of(node)
        if library and (otherwise := library.called_otherwise(node)):
            raise UnsupportedModelError(f"layer {name!r} {otherwise}", hint=library.all_steps)
    return _replaced(model, _own)


def with_stepped_neurons(model: nn.Module) -> nn.Module:
    """The same for a module that is traced: neurons may take a step a call, and remember it."""

    def traced(name: str, node: nn.Module) -> nn.Module | None:
        library = library_of(node)
        return library.traced(name, node) if library else _own(name, node)

    return _replaced(model, traced)


def _replaced(model: nn.Module, by: Callable[[str, nn.Module], nn.Module | None]) -> nn.Module:
    own = {m: by(n, m) for n, m in model.named_modules() if isinstance(m, LIF) or library_of(m)}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if name and own.get(module):
            parent_name, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent_name), child, own[module])
    return own.get(model) or model


def _own(name: str, node: Any) -> nn.Module | None:
    """The `LIF` that does what a node does; None for a `LIF` that is exported as it is."""
    library = library_of(node)
    if library:
        return library.own(name, node)
    check_unchanged(name, node, LIF)
    settings = {key: getattr(node, key) for key in ("tau", "v_threshold", "v_reset", "drop")}
    numbers = {key: number(name, key, value) for key, value in settings.items()}
    learned = any(isinstance(value, Tensor) for value in settings.values())
    return LIF(**numbers, decay_input=node.decay_input) if learned else None
