"""Whether an exported model does, layer by layer, what its torch module does.

Spikes may differ at a tie of float rounding, and everything behind them then drifts apart. So each
layer is compared on equal inputs: neurons on the inputs that they had in torch, and what lies
between neurons on the spikes that it had in torch. Activations that are rounded, as integer neurons
are trained, are neurons in this.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.utils._python_dispatch import TorchDispatchMode

from hqc.dialect import DIALECT
from hqc.dialect.lif import LIF as LIF_OP
from hqc.errors import UnsupportedModelError, UserError, in_short
from hqc.frontend.libraries import library_of
from hqc.models.lif import LIF
from hqc.quantize import QuantPow2, QuantUniform
from hqc.reference import ReferenceSession

TOLERANCE = 1e-4
"""Of the largest magnitude of a tensor. What lies between neurons adds some thousand products of
float32 numbers, in one order in torch and in another in onnxruntime, with BatchNorm folded into
weights or not: a difference of some 1e-6, more where large terms cancel. A layer that does
something else is off by far more."""

_ROUNDED: dict[str, Callable[[np.ndarray], np.ndarray]] = {"Round": np.round, "Floor": np.floor}

_ROUNDINGS = 8
"""Units in the last place that a time step of neurons loses at most: it takes at most six
operations of float32, each of which rounds by half of one, on rounded tau, threshold and reset."""

_QUANTIZERS = QuantUniform | QuantPow2

_TRAINED = nn.modules.batchnorm._NormBase | nn.modules.dropout._DropoutNd
"""Layers that do something else in training."""


@dataclass
class Call:
    """One call of a layer of neurons: inputs and spikes [T, ...], and its largest constant."""

    x: np.ndarray
    spikes: np.ndarray
    constants: float

    def go_on(self, later: Call) -> None:
        """Take in the time steps of a call that began with the potentials of this one."""
        self.x = np.concatenate([self.x, later.x])
        self.spikes = np.concatenate([self.spikes, later.spikes])


@dataclass
class Run:
    """What a module did with frames: calls of neurons, named as `numbered` does, and logits.

    `rounded` holds what was rounded and what became of it, in order.
    """

    frames: np.ndarray
    calls: dict[str, Call] = field(default_factory=dict)
    rounded: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    logits: np.ndarray | None = None


class _Roundings(TorchDispatchMode):
    """Notes what is rounded outside quantizers, which are ops of their own in a model."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run, self.quantizers = run, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        rounds = func in (torch.ops.aten.round.default, torch.ops.aten.floor.default)
        if rounds and not self.quantizers:
            self._run.rounded.append((_array(args[0]), _array(out)))
        return out


def numbered(name: str, taken: Container[str]) -> str:
    """A name that is not taken: `name`, or `name_2`, `name_3`, ..."""
    names = (name if number == 1 else f"{name}_{number}" for number in count(1))
    return next(n for n in names if n not in taken)


def chosen(outputs: Any, output: int | str) -> Tensor:
    """One of several outputs of a module. Raises `UnsupportedModelError` where there is no such."""
    try:
        return outputs[output]
    except (LookupError, TypeError):
        what = type(outputs).__name__
        count = f" of {len(outputs)}" if isinstance(outputs, tuple | list | dict) else ""
        raise UnsupportedModelError(
            f"the module's forward returns a {what}{count}, without an output {output!r}",
            hint="say by number or by name which of its outputs is to be compiled",
        ) from None


def record(module: nn.Module, frames: Tensor, output: int | str | None = None) -> Run:
    """Run a module, its neurons at rest, and note what they are given and what they give.

    `output` says which of its outputs are the logits, where there are several.

    Raises `UnsupportedModelError`, naming the layer, for neurons that do not start at rest, that
    are in no registered layer, or that are called with keywords or not on float32; for a layer that
    is in training all the same; and for a module that does not return one tensor of float32.
    """
    layers = {part: name for name, part in module.named_modules()}
    run = Run(_array(frames))
    last: dict[nn.Module, Call] = {}
    held: dict[nn.Module, Tensor | None] = {}
    roundings = _Roundings(run)

    def before(part: nn.Module, inputs: tuple) -> None:
        roundings.quantizers += isinstance(part, _QUANTIZERS)
        name = layers.get(part) or _place(module, part)
        if part.training and isinstance(part, _TRAINED):
            raise UnsupportedModelError(
                f"layer {name!r}, a {type(part).__name__}, is in training after module.eval()",
                hint="register it, in nn.ModuleList or nn.ModuleDict rather than a list or a dict",
            )
        if not _are_neurons(part):
            return
        if part not in layers:
            raise UnsupportedModelError(
                f"layer {name!r}, a {type(part).__name__}, is not registered in the module",
                hint="keep layers in nn.ModuleList or nn.ModuleDict, not in a list or a dict",
            )
        if not inputs:
            raise UnsupportedModelError(
                f"layer {name!r} is called with keywords", hint="call it as layer(x)"
            )
        _check_float32(f"layer {name!r} is given", inputs[0])
        library = library_of(part)
        state = library.state(part, inputs) if library else None
        goes_on = part in last and state is not None and _is_same(state, held[part])
        if goes_on:
            return
        last.pop(part, None)
        if state is not None and not library.is_rest(part, state):
            raise UnsupportedModelError(
                f"layer {name!r} begins with potentials that are set to a tensor",
                hint="potentials start where they are reset to, or at 0 with soft reset",
            )

    def after(part: Any, inputs: tuple, outputs: Any) -> None:
        roundings.quantizers -= isinstance(part, _QUANTIZERS)
        if not _are_neurons(part):
            return
        library = library_of(part)
        x, spikes = inputs[0], outputs
        if library:
            held[part] = library.left(part, inputs, outputs)
            both = library.taken(part, inputs), library.spikes(outputs)
            x, spikes = (library.steps(part, y) for y in both)
        levels = library.levels(part) if library else part.levels
        call = Call(_array(x), _array(spikes), max(map(abs, levels)))
        if part in last:
            last[part].go_on(call)
        else:
            last[part] = run.calls[numbered(layers[part], run.calls)] = call

    for part in layers:
        if library := library_of(part):
            library.put_at_rest(part)
    hooks = (
        torch_module.register_module_forward_pre_hook(before),
        torch_module.register_module_forward_hook(after),
    )
    try:
        with torch.no_grad(), torch.compiler.set_stance("force_eager"), roundings:
            outputs = module(frames)
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise UnsupportedModelError(
            f"the module's forward fails on frames {list(frames.shape)}: {in_short(error)}",
            hint="are these the frames that it takes? where it takes a step a call: --time-steps",
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    logits = outputs if output is None else chosen(outputs, output)
    if isinstance(logits, tuple | list | dict):
        raise UnsupportedModelError(
            f"the module's forward returns a {type(logits).__name__} of {len(logits)}, not one "
            "tensor",
            hint="say which of them is to be compiled: export(..., output=0), or --take 0",
        )
    _check_float32("the module's forward returns", logits)
    run.logits = _array(logits)
    return run


def _are_neurons(part: nn.Module) -> bool:
    library = library_of(part)
    return isinstance(part, LIF) or (library is not None and library.fires(part))


def _is_same(state: Tensor, held: Tensor | None) -> bool:
    """Whether potentials are those that were kept, detached from a graph or not."""
    return held is not None and (state.data_ptr(), state.shape) == (held.data_ptr(), held.shape)


def _check_float32(where: str, x: object) -> None:
    if not isinstance(x, Tensor) or x.dtype != torch.float32:
        what = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise UnsupportedModelError(
            f"{where} {what}, not one tensor of torch.float32",
            hint="hqc compiles modules that compute in float32 and return the logits alone",
        )


def _array(x: Tensor) -> np.ndarray:
    """A copy, which later work in place leaves as it is."""
    return np.array(x.detach().cpu())


def _place(module: nn.Module, part: nn.Module) -> str:
    """Where a part that is no registered layer is kept, as `layer.attribute`."""
    for name, owner in module.named_modules():
        for key, value in vars(owner).items():
            held = list(value.values()) if isinstance(value, dict) else value
            if isinstance(held, list | tuple) and any(item is part for item in held):
                return f"{name}.{key}".removeprefix(".")
    return type(part).__name__


class Agreement:
    """A model, cut at its neurons, to compare with runs of its module.

    It is cut where activations are rounded, too, if it has as many of these as a run of the module.
    """

    def __init__(self, model: ir.Model, run: Run) -> None:
        cut = ir.serde.deserialize_model(ir.serde.serialize_model(model))
        rounded = [n for n in cut.graph if not n.domain and n.op_type in _ROUNDED]
        if [n.outputs[0].shape.numpy() for n in rounded] != [y.shape for _, y in run.rounded]:
            rounded = []
        self._rounded = [
            (node.name, node.op_type, node.inputs[0].name, node.outputs[0].name) for node in rounded
        ]
        self._neurons = [
            (node.name, node.inputs[0].name, node.outputs[0].name, LIF_OP.attributes(node))
            for node in cut.graph
            if (node.domain, node.op_type) == (DIALECT, "LIF")
        ]
        for node in list(cut.graph):
            if (node.domain, node.op_type) == (DIALECT, "LIF") or node in rounded:
                spikes = node.outputs[0]
                given = ir.Value(name=spikes.name, shape=spikes.shape, type=spikes.type)
                spikes.replace_all_uses_with(given, replace_graph_outputs=True)
                cut.graph.remove(node, safe=True)
                cut.graph.inputs.append(given)
        inputs = {value.name for value in cut.graph.inputs}
        cuts = {spikes for _, _, spikes, _ in self._neurons} | {y for *_, y in self._rounded}
        (self._frames,) = inputs - cuts
        (self._logits,) = (value.name for value in cut.graph.outputs)
        read = [x for _, x, *_ in self._neurons] + [x for _, _, x, _ in self._rounded]
        self._watched = list(dict.fromkeys(x for x in read if x not in {*inputs, self._logits}))
        self._session = ReferenceSession(cut, self._watched)

    def check(self, run: Run) -> None:
        """Raise `UnsupportedModelError` for the first layer that differs, with by how much."""
        layers = {name for name, *_ in self._neurons}
        if run.calls and not layers & set(run.calls):
            raise UnsupportedModelError(
                f"torch cannot trace the module as layers: {next(iter(run.calls))!r} is no node",
                hint="call layers as layer(x), not their methods; do not branch on data",
            )
        values = {self._frames: run.frames}
        for name, _, spikes, _ in self._neurons:
            if name not in run.calls:
                raise UnsupportedModelError(
                    f"neurons of {name!r} are not called as a layer",
                    hint="call layers as layer(x), not their methods",
                )
            values[spikes] = run.calls[name].spikes
        rounded = run.rounded if self._rounded else []
        if len(rounded) != len(self._rounded):
            raise _differs(f"it rounds {len(rounded)} times, not {len(self._rounded)}")
        roundings = list(zip(self._rounded, rounded, strict=True))
        values |= {y: made for (*_, y), (_, made) in roundings}
        found = self._session.run(values)
        values |= zip((self._logits, *self._watched), found, strict=True)
        for name, x, _, attributes in self._neurons:
            call = run.calls[name]
            _compare(f"inputs of layer {name!r}", values[x], call.x, call.constants)
            _check_spikes(name, call, **attributes)
        for (name, op_type, x, _), (given, made) in roundings:
            _compare(f"inputs of {name!r}", values[x], given, 0.0)
            _compare(f"outputs of {name!r}", _ROUNDED[op_type](given), made, 0.0)
        _compare("logits", values[self._logits], run.logits, 0.0)


def _compare(what: str, found: np.ndarray, expected: np.ndarray, constants: float) -> None:
    if found.shape != expected.shape:
        raise _differs(f"{what} have shape {list(found.shape)}, not {list(expected.shape)}")
    largest = max(np.abs(expected).max(initial=0), constants)
    difference = np.abs(found - expected).max(initial=0)
    if not difference <= TOLERANCE * largest:
        raise _differs(f"{what} differ by up to {difference:.3g}, of {largest:.3g}")


def _check_spikes(
    name: str,
    call: Call,
    tau: float,
    v_threshold: float,
    v_reset: float,
    soft_reset: int,
    decay_input: int,
) -> None:
    """Compare spikes with the dialect's neurons in double precision, reset where torch's are.

    A spike may differ where its potential is within rounding of the threshold: an error of a step
    is carried to later ones, times 1 - 1 / tau at most, so that errors of all steps add up.
    """
    v = np.zeros(call.x.shape[1:])
    potentials = np.empty(call.x.shape)
    for t, x in enumerate(call.x.astype(float)):
        v = v + (x - v) / tau if decay_input else v * (1 - 1 / tau) + x
        potentials[t] = v
        fired = call.spikes[t]
        v = v - fired * (v_threshold - v_reset) if soft_reset else np.where(fired, v_reset, v)
    distance = potentials - v_threshold
    handled = 2 * np.abs(potentials).max(0) + np.abs(call.x).max(0) + 2 * call.constants
    bound = _ROUNDINGS * len(call.x) * np.finfo(np.float32).eps * handled
    differ = (distance >= 0) != call.spikes
    wrong = differ & (np.abs(distance) > bound)
    if wrong.any():
        raise _differs(
            f"{wrong.sum()} of {wrong.size} spikes of layer {name!r} differ, at potentials up to "
            f"{np.abs(distance[wrong]).max():.3g} from the threshold of {v_threshold:g}"
        )


def _differs(what: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"the exported model does not do what the module does: {what}",
        hint="does forward draw random numbers, keep a state, branch on data, or use hooks?",
    )
