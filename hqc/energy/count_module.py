"""Counting what a torch module does: ours, SpikingJelly's, or any with neurons of a known kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode

from hqc.energy.counts import LayerCounts, Tally, Window
from hqc.models.lif import LIF

_KEEPS_SPIKES = {
    "chunk",
    "contiguous",
    "expand",
    "flatten",
    "max_pool1d",
    "max_pool2d",
    "pad",
    "permute",
    "reshape",
    "split",
    "squeeze",
    "transpose",
    "unbind",
    "unflatten",
    "unsqueeze",
    "view",
    "__getitem__",
}
_SUMS = {"add", "__add__", "__iadd__", "add_"}
_MASKS = {"mul", "__mul__"}
_PRODUCTS = {"matmul", "__matmul__", "bmm"}
_ARGUMENTS = ("input", "weight", "bias", "stride", "padding", "dilation")
_LEVELS = "_hqc_levels"


def is_neuron(module: nn.Module) -> bool:
    """Whether a module is a layer of spiking neurons: our `LIF`, or SpikingJelly's nodes."""
    return isinstance(module, LIF) or any(c.__name__ == "BaseNode" for c in type(module).__mro__)


def count_module(module: nn.Module, frames: Tensor) -> list[LayerCounts]:
    """Counts of an average recording in one run of frames [T, N, ...].

    Layers have the names of their modules; a product of activations that of the module that forms
    it and `/MatMul`, as `export` names it. The module runs as in evaluation, without gradients.
    """
    tally = Tally(frames.shape[0], per_step=False)
    tally.start(frames.shape[1])
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad(), _Watch(module, tally):
            module(frames)
    finally:
        module.train(was_training)
    return tally.finish()


class _Watch(TorchFunctionMode):
    """Tells a tally of every layer and product, and follows which tensors are spikes."""

    def __init__(self, module: nn.Module, tally: Tally) -> None:
        super().__init__()
        self._names = {m: name for name, m in module.named_modules()}
        self._inside: list[nn.Module] = []
        self._tally = tally
        self._products: dict[str, int] = {}
        self._hooks = ExitStack()

    def __enter__(self) -> _Watch:
        for hook in (
            register_module_forward_pre_hook(self._enter_module),
            register_module_forward_hook(self._leave_module),
        ):
            self._hooks.callback(hook.remove)
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        self._hooks.close()
        super().__exit__(*error)

    def _enter_module(self, module: nn.Module, _inputs: object) -> None:
        self._inside.append(module)

    def _leave_module(self, module: nn.Module, _inputs: object, output: object) -> None:
        self._inside.pop()
        if is_neuron(module) and isinstance(output, Tensor):
            setattr(output, _LEVELS, 1)
            self._tally.neurons(output.cpu().numpy())

    def __torch_function__(
        self, func: Callable, types: Sequence, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").lstrip("_") if not _is_dunder(func) else func.__name__
        if name in _KEEPS_SPIKES:
            self._mark(result, _levels(args[0]))
        elif name in _SUMS and len(args) > 1:
            levels = [_levels(a) for a in args[:2]]
            self._mark(result, sum(levels) if all(levels) else 0)
        elif name in _MASKS and len(args) > 1:
            self._mark(result, _levels(args[0]) * _levels(args[1]))
        elif name in ("conv1d", "conv2d", "linear"):
            self._layer(name, args, kwargs or {}, result)
        elif name in _PRODUCTS and not any(isinstance(a, nn.Parameter) for a in args[:2]):
            self._product(*args[:2])
        return result

    def _mark(self, result: Any, levels: int) -> None:
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if levels and isinstance(tensor, Tensor):
                setattr(tensor, _LEVELS, levels)

    def _layer(self, kind: str, args: tuple, kwargs: dict, result: Tensor) -> None:
        given = dict(zip(_ARGUMENTS, args, strict=False))
        given |= kwargs
        x, weight = given["input"], given["weight"]
        name = self._name()
        values, levels = x.cpu().numpy(), _levels(x)
        if kind == "linear":
            self._tally.linear(name, values, levels, weight.shape[0])
            return
        kernel = weight.shape[2:]
        stride, dilation = (_each(given.get(k, 1), kernel) for k in ("stride", "dilation"))
        padding = given.get("padding", 0)
        if padding == "same":
            padding = [d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True)]
        pad = _each(0 if padding == "valid" else padding, kernel)
        window = Window(kernel, stride, dilation, pad, result.shape[2:])
        self._tally.convolution(name, values, levels, weight.shape, window)

    def _product(self, a: Tensor, b: Tensor) -> None:
        where = self._name()
        self._products[where] = count = self._products.get(where, 0) + 1
        name = f"{where}/MatMul" if count == 1 else f"{where}/MatMul_{count}"
        self._tally.product(name, a.cpu().numpy(), b.cpu().numpy(), _levels(a), _levels(b))

    def _name(self) -> str:
        """The innermost module that runs, and that the counted module knows by name."""
        return next((self._names[m] for m in reversed(self._inside) if m in self._names), "")


def _is_dunder(func: Callable) -> bool:
    name = getattr(func, "__name__", "")
    return name.startswith("__") and name.endswith("__")


def _levels(value: object) -> int:
    return getattr(value, _LEVELS, 0)


def _each(value: Any, kernel: Sequence[int]) -> list[int]:
    return list(value) if isinstance(value, tuple | list) else [value] * len(kernel)
