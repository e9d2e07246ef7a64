"""What a refusal is here: a smallest model, and what the compiler says of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import onnx

import hqc
from hqc.compiler import lower, pipeline_for
from hqc.errors import UserError
from hqc.frontend.load import load_model
from hqc.targets import load_target
from tests.networks import Network

T, C, H, W = 2, 3, 4, 5
"""Frames of a small network."""

D = 6
"""Channels of its layers."""


class Small(Network):
    """Two time steps of small frames; sound, unless a case does something that is not."""

    def __init__(self, folder: Path, frames: Sequence[int] = (T, 1, C, H, W)) -> None:
        super().__init__(frames, classes=2)
        self.folder = folder
        self.path = folder / "model.onnx"

    def image(self) -> str:
        """The frames as counts, an image [T, C, H, W]."""
        return self.input()

    def weights(self, *shape: int, bits: int = 4, **attributes) -> str:
        """Seeded weights, quantized."""
        drawn = np.random.default_rng(len(self.nodes)).normal(size=shape)
        return self.quantized(drawn, bits, **attributes)

    def conv(
        self, x: str, channels: Sequence[int] = (D, D), bias: str = "", bits: int = 4, **attributes
    ) -> str:
        """A convolution of one by one, from inputs to outputs."""
        inputs, outputs = channels
        codes = self.weights(outputs, inputs, 1, 1, bits=bits)
        attributes = {"kernel_shape": [1, 1], "name": "conv", **attributes}
        return self.op("Conv", x, codes, *([bias] if bias else []), **attributes)

    def spikes(self, channels: int = D, name: str = "stem") -> str:
        """Spikes [T, D, H, W] of a first layer."""
        y = self.conv(self.image(), (self.frames[2], channels), name=name)
        return self.lif(y, v_threshold=2.0, name=f"{name}.lif")

    def tokens(self, name: str = "stem") -> str:
        """Spikes as tokens [T, 1, H*W, D]."""
        steps, _, _, height, width = self.frames
        flat = self.view(self.spikes(name=name), (steps, 1, D, height * width))
        return self.op("Transpose", flat, perm=[0, 1, 3, 2])

    def end(self, spikes: str, axes: Sequence[int] = (0, 2, 3), channels: int = D) -> None:
        """The classifier of a mean of spikes, over all axes but the channels."""
        self.head(self.mean(spikes, list(axes)), channels)

    def end_of_tokens(self, spikes: str) -> None:
        """The classifier of the mean of tokens [T, 1, H*W, D]."""
        self.end(spikes, (0, 1, 2))


@dataclass(frozen=True, eq=False)
class Case:
    """A model, and what is said of it. "..." in a text stands for anything.

    `make` adds nodes to a network, or returns the file's content. `options` are those of
    `hqc.compile`, files among them in the network's folder; without them the model is lowered and
    no code is generated.
    """

    name: str
    message: str
    hint: str | None
    make: Callable[[Small], onnx.ModelProto | bytes | None]
    passes: str | None = None
    bind: Mapping[str, int] = field(default_factory=dict)
    options: Mapping[str, str | int] = field(default_factory=dict)


CASES: list[Case] = []


def refused(message: str, hint: str | None = None, **how) -> Callable[[Callable], Callable]:
    """Register the decorated function as the `make` of a case of its name."""

    def register(make: Callable) -> Callable:
        CASES.append(Case(make.__name__, message, hint, make, **how))
        return make

    return register


@dataclass(frozen=True)
class Refusal:
    """What a case ended with: None where it was compiled. `nodes` are the user's names."""

    error: Exception | None
    message: str
    hint: str | None
    nodes: frozenset[str]


@cache
def outcome(case: Case) -> Refusal:
    """Compile the case's model. Paths in messages are as seen from its folder."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        net = Small(folder)
        made = case.make(net)
        if made is None:
            made = onnx.load(net.save(net.path))
        if isinstance(made, onnx.ModelProto):
            nodes = frozenset(n.name or n.output[0] for n in made.graph.node)
            made = made.SerializeToString()
        else:
            nodes = frozenset()
        net.path.write_bytes(made)
        try:
            _compile(net.path, case)
        except UserError as error:
            message = error.message.replace(f"{folder}/", "")
            return Refusal(error, message, error.hint, nodes)
        return Refusal(None, "", None, nodes)


def _compile(path: Path, case: Case) -> None:
    if case.options:
        output = path.parent / "build"
        options = {"target": "host", **case.options}
        if "tune" in options:
            options["tune"] = path.parent / options["tune"]
        hqc.compile(path, output=output, passes=case.passes, bind=case.bind, **options)
    else:
        lower(load_model(path, case.bind), pipeline_for(_host(), case.passes))


@cache
def _host():
    return load_target("host")
