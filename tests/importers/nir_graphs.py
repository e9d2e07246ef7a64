"""NIR graphs, and other libraries that execute them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import nirtorch
import norse.torch as norse
import numpy as np
import torch
from torch import Tensor, nn

from hqc.frontend.load import prepared
from hqc.importers import Asked, find_importer
from hqc.reference import ReferenceSession

DT = 1e-3
"""Seconds of a time step in the tests, norse's."""


def chain(shape: Sequence[int], **nodes: nir.NIRNode) -> nir.NIRGraph:
    """Nodes one behind the other."""
    names = ["input", *nodes, "output"]
    ends = {"input": nir.Input(np.array(shape)), "output": nir.Output(None)}
    edges = list(pairwise(names))
    return nir.NIRGraph({**ends, **nodes}, edges, type_check=False)


def written(graph: nir.NIRGraph, path: Path, shapes: Mapping[str, Sequence[int]]) -> Path:
    """The file of a graph, torch's tensors as arrays; `shapes` are of nodes that lack theirs."""
    for name, node in graph.nodes.items():
        for key, value in vars(node).items():
            if isinstance(value, Tensor | np.ndarray):  # HDF5 compresses no single number
                setattr(node, key, np.atleast_1d(torch.as_tensor(value).detach().numpy()))
        if name in shapes and isinstance(node, nir.Flatten):
            node.input_type = {"input": np.array(shapes[name])}
        elif name in shapes:
            node.input_shape = tuple(shapes[name])
    for name in [n for n, node in graph.nodes.items() if isinstance(node, nir.Output)]:
        if graph.nodes[name].output_type["output"] is None:
            graph.nodes[name] = nir.Output(np.array(shapes[name]))
    nir.write(path, graph)
    return path


def imported(path: Path, time_steps: int, dt: float = DT, reset: str | None = None):
    """The dialect model of a file."""
    proto = find_importer(path).read(path, Asked(time_steps, dt, reset))
    return prepared(path, proto)


def logits_of(model, frames: np.ndarray, *watched: str) -> list[np.ndarray]:
    """What a model gives for frames [T, *shape], in onnxruntime, and tensors of these names."""
    (given,) = model.graph.inputs
    session = ReferenceSession(model, watched)
    return session.run({given.name: frames.reshape(given.shape.numpy()).astype(np.float32)})


class Scaled(nn.Module):
    """A factor before a module with a state."""

    def __init__(self, factor: np.ndarray, module: nn.Module) -> None:
        super().__init__()
        self.factor, self.module = torch.from_numpy(np.asarray(factor, np.float32)), module

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return self.module(x * self.factor, state)


class Stateful(nn.Module):
    """A module of a function (x, state) -> (y, state)."""

    def __init__(self, function: Callable) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return self.function(x, state)


def tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(array, np.float32))


def _lif(node: nir.LIF) -> nn.Module:
    settings = norse.LIFBoxParameters(
        tau_mem_inv=1 / tensor(node.tau),
        v_leak=tensor(node.v_leak),
        v_th=tensor(node.v_threshold),
        v_reset=tensor(node.v_reset),
    )
    return Scaled(node.r, norse.LIFBoxCell(settings, dt=DT))


def _if(node: nir.IF) -> nn.Module:
    """Norse's, but from 0, not from v_reset."""
    settings = norse.IAFParameters(v_th=tensor(node.v_threshold), v_reset=tensor(node.v_reset))
    cell = norse.IAFCell(settings)
    from norse.torch.functional.iaf import IAFFeedForwardState

    cell.state_fallback = lambda x: IAFFeedForwardState(v=torch.zeros_like(x))
    return Scaled(node.r, cell)


def _li(node: nir.LI) -> nn.Module:
    settings = norse.LIBoxParameters(1 / tensor(node.tau), tensor(node.v_leak))
    return Scaled(node.r, norse.LIBoxCell(settings, dt=DT))


class CubaLI(nn.Module):
    def __init__(self, node: nir.CubaLI) -> None:
        super().__init__()
        zero = np.zeros_like(node.v_leak)
        self.synapse = _li(nir.LI(node.tau_syn, node.w_in, zero))
        self.membrane = _li(nir.LI(node.tau_mem, node.r, node.v_leak))

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        i, first = self.synapse(x, state and state[0])
        v, second = self.membrane(i, state and state[1])
        return v, (first, second)


def _late(node: nir.Delay) -> nn.Module:
    steps = round(float(node.delay.flat[0]) / DT)

    def step(x: Tensor, state: list | None) -> tuple[Tensor, list]:
        waiting = [*(state or [torch.zeros_like(x)] * steps), x]
        return waiting[0], waiting[1:]

    return Stateful(step)


def _sum(node: nir.I) -> nn.Module:
    def step(x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        v = tensor(node.r) * x + (0 if state is None else state)
        return v, v

    return Stateful(step)


class Plain(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def _affine(node: nir.Affine) -> nn.Module:
    return Plain(lambda x: nn.functional.linear(x, tensor(node.weight), tensor(node.bias)))


def _conv(node: nir.Conv2d) -> nn.Module:
    stride, dilation = tuple(node.stride), tuple(node.dilation)
    padding = node.padding if isinstance(node.padding, str) else tuple(node.padding)
    given = tensor(node.weight), tensor(node.bias), stride, padding, dilation, int(node.groups)
    return Plain(lambda x: nn.functional.conv2d(x, *given))


MODULES = {
    nir.Conv2d: _conv,
    nir.Affine: _affine,
    nir.LIF: _lif,
    nir.IF: _if,
    nir.LI: _li,
    nir.CubaLI: CubaLI,
    nir.Delay: _late,
    nir.I: _sum,
    nir.Scale: lambda node: Plain(lambda x: x * tensor(node.scale)),
    nir.Threshold: lambda node: Plain(lambda x: (x > tensor(node.threshold)).float()),
}
"""Nodes that nirtorch maps to no module, or not as NIR has it: it drops biases, and groups."""


def by_nirtorch(graph: nir.NIRGraph, frames: np.ndarray) -> np.ndarray:
    """nirtorch's graph of norse's cells and torch's layers, [T, *shape] -> [T, *out]."""
    return _steps(nirtorch.nir_to_torch(graph, MODULES), frames)


def by_norse(graph: nir.NIRGraph, frames: np.ndarray) -> np.ndarray:
    """norse's own import."""
    return _steps(norse.from_nir(graph, ignore_warnings=True, dt=DT), frames)


def _steps(module: nn.Module, frames: np.ndarray) -> np.ndarray:
    state, found = None, []
    with torch.no_grad():
        for x in torch.from_numpy(frames.astype(np.float32)):
            y, state = module(x, state) if state is not None else module(x)
            found.append(y.numpy())
    return np.array(found)
