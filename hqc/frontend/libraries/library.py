"""What hqc knows of a library's neurons: which they are, what they keep, what they do."""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hqc.errors import UnsupportedModelError
from hqc.frontend.stepped import SteppedLIF
from hqc.models.lif import LIF


class Library(ABC):
    """Neurons of one library of torch modules: a file beside this one, registered on import."""

    all_steps = "use hqc.models.lif.LIF, which takes frames [T, N, ...]"
    """How neurons that take a step a call are made to take all at once."""

    memories: tuple[str, ...] = ()
    """What a checkpoint may hold of what neurons remember, by its last name."""

    @abstractmethod
    def has(self, module: nn.Module) -> bool:
        """Whether a module is one of the library's that keep a state from call to call."""

    def fires(self, node: nn.Module) -> bool:
        """Whether a call of it is a node `LIF` of the model; else its ops are written out."""
        return True

    @abstractmethod
    def is_single_step(self, node: nn.Module) -> bool:
        """Whether it takes one time step a call."""

    def called_otherwise(self, node: nn.Module) -> str | None:
        """In which way a call is not that of a `LIF`, [T, N, ...] to spikes; None if it is."""
        return "takes one time step a call" if self.is_single_step(node) else None

    @abstractmethod
    def own(self, name: str, node: nn.Module) -> nn.Module:
        """The layer, a `LIF` if it fires, that does what a node does, and can be trained.

        Raises `UnsupportedModelError` if there is none.
        """

    @abstractmethod
    def put_at_rest(self, node: nn.Module) -> None:
        """Let its next call be the first."""

    @abstractmethod
    def state(self, node: nn.Module, inputs: tuple) -> Tensor | None:
        """The potentials that a call of it begins with; None where there are none yet."""

    def left(self, node: nn.Module, inputs: tuple, outputs: Any) -> Tensor | None:
        """The potentials that a call of it ends with."""
        return self.state(node, inputs[:1])

    def is_rest(self, node: nn.Module, state: Tensor) -> bool:
        """Whether potentials that were set are those at rest."""
        return False

    @abstractmethod
    def levels(self, node: nn.Module) -> tuple[float, ...]:
        """Constants that its potentials are compared with or set to."""

    def spikes(self, outputs: Any) -> Tensor:
        """The spikes, of what a call returns."""
        return outputs

    def taken(self, node: nn.Module, inputs: tuple) -> Tensor:
        """What its potentials took in a call that has ended: x, or a current that x adds to."""
        return inputs[0]

    def steps(self, node: nn.Module, x: Tensor) -> Tensor:
        """What a call is given, or its spikes, as [T, ...]."""
        return x.unsqueeze(0) if self.is_single_step(node) else x

    def traced(self, name: str, node: nn.Module) -> nn.Module:
        """What stands for the node while its network is traced."""
        own = self.own(name, node)
        return SteppedLIF(own, self.is_single_step(node)) if isinstance(own, LIF) else own


_LIBRARIES: list[Library] = []


def register(library: type[Library]) -> type[Library]:
    """Register the decorated library."""
    _LIBRARIES.append(library())
    return library


def library_of(module: nn.Module) -> Library | None:
    """The library that a module with a state is of; None for any other module."""
    return next((library for library in _LIBRARIES if library.has(module)), None)


def classes(names: Mapping[str, tuple[str, ...]]) -> tuple[type, ...]:
    """A library's own classes, by identity; none where nobody has imported the library."""
    modules = {name: sys.modules[name] for name in names if name in sys.modules}
    found = (getattr(modules[m], name, None) for m in modules for name in names[m])
    return tuple(c for c in found if c is not None)


def number(name: str, key: str, value: float | Tensor | None) -> float | None:
    """A setting as one finite number, or none; a tau may be infinite.

    As a tensor it may say that number for each neuron.
    """
    if value is None:
        return None
    if (
        isinstance(value, Tensor)
        and value.numel() > 1
        and bool((value == value.flatten()[0]).all())
    ):
        value = value.flatten()[0]
    if isinstance(value, Tensor) and value.numel() != 1:
        raise UnsupportedModelError(
            f"layer {name!r}: {key} has {value.numel()} values, shape {list(value.shape)}",
            hint=f"neurons of one layer share one {key}",
        )
    found = float(value.detach() if isinstance(value, Tensor) else value)
    if math.isnan(found) or (math.isinf(found) and key != "tau"):
        raise UnsupportedModelError(
            f"layer {name!r}: {key} is {found}", hint="did training diverge?"
        )
    return found


_SAME_NEURON = {"__init__", "extra_repr", "__repr__", "__annotate__", "__dict__", "__weakref__"}
"""What a class of the user's may define anew and still be the neuron that it derives from."""


def check_unchanged(
    name: str, node: nn.Module, kind: type, settings: frozenset[str] = frozenset()
) -> None:
    """Refuse a node whose methods, or `settings`, are not its kind's but the user's."""
    own_methods = {key for key, value in vars(node).items() if callable(value)}
    changed = {
        key
        for c in type(node).__mro__
        if c not in kind.__mro__
        for key, value in vars(c).items()
        if (callable(value) or hasattr(value, "__get__"))
        and (hasattr(kind, key) or key in settings)
    } | {key for key in own_methods if hasattr(kind, key)}
    if own := sorted(changed - _SAME_NEURON):
        raise UnsupportedModelError(
            f"layer {name!r} is no plain {kind.__name__}: its {', '.join(own)} is its own",
            hint=f"hqc compiles what {kind.__module__}.{kind.__name__} does",
        )


def plain_kind(
    name: str,
    node: nn.Module,
    library: str,
    kinds: Mapping[str, tuple[str, ...]],
    instead: str,
    settings: frozenset[str] = frozenset(),
) -> type:
    """Which of a library's kinds a node is. Refuse one that does something else over time."""
    known = classes(kinds)
    kind = next((c for c in type(node).__mro__ if c in known), None)
    first = next(c for c in type(node).__mro__ if c.__module__.startswith(f"{library}."))
    if kind is None or first is not kind:
        raise UnsupportedModelError(
            f"layer {name!r}: there is no {type(node).__module__}.{type(node).__qualname__} "
            "among the neurons that compile",
            hint=f"use {instead}",
        )
    check_unchanged(name, node, kind, settings)
    _check_hooks(name, node)
    return kind


def _check_hooks(name: str, node: nn.Module) -> None:
    if node._forward_hooks or node._forward_pre_hooks:
        raise UnsupportedModelError(
            f"layer {name!r} has hooks, which are no part of the neuron that would be compiled",
            hint="remove monitors before; write what changes spikes into the network's forward",
        )


def check_step(name: str, surrogate: Any, strict: bool) -> None:
    """Refuse a surrogate function that is, forward, no step at 0, which gives 1, or 0 if strict."""
    sizes = torch.tensor(
        [0, 1e-45, 1e-38, *torch.logspace(-20, 20, 161), *torch.linspace(0, 4, 99)]
    )
    x = torch.cat([-sizes, sizes])
    try:
        with torch.no_grad():
            is_step = torch.equal(surrogate(x), (x > 0 if strict else x >= 0).to(x))
    except Exception:
        is_step = False
    if not is_step:
        called = getattr(surrogate, "__name__", type(surrogate).__name__)
        raise UnsupportedModelError(
            f"layer {name!r}: its surrogate function {called} is, forward, no step at 0",
            hint="neurons fire where the potential reaches the threshold; move that instead",
        )
