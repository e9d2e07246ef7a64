"""Random torch modules: `python -m tests.fuzz.modules --count N`.

A module is drawn as a tree of parts, which says all that there is to say about it: printed, it is
its own reproduction. It is exported, compiled, and compared with the forward of the library that
its layers are from.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path

import click
import hypothesis
import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn

import hqc
from hqc.compiler import lower, pipeline_for
from hqc.data.recordings import Recording
from hqc.errors import UserError
from hqc.frontend.export import export
from hqc.frontend.load import load_model
from hqc.models.layers import at_each_step
from hqc.models.lif import LIF
from hqc.quantize import QuantUniform, apply_recipe
from hqc.quantize.recipe import quantizable_layers
from hqc.reference import ReferenceSession
from hqc.targets import load_target
from hqc.verification import compare
from tests.fuzz.oracle import reason

_RECORDINGS = 4
_ROUND = 10
"""Modules of one seed: hypothesis varies the first ones, so that more give little that is new."""

_SURROGATES = {
    "Sigmoid": surrogate.Sigmoid,
    "ATan": surrogate.ATan,
    "LeakyKReLU": surrogate.LeakyKReLU,
}
_TWISTS = (
    "hook",
    "initial potential",
    "learned threshold",
    "no spikes",
    "per channel",
    "single step",
)
"""What is done to a node that mostly must be refused."""


@dataclass(frozen=True)
class Node:
    """A layer of neurons: SpikingJelly's class, or ours."""

    kind: str = "LIFNode"
    tau: float = 2.0
    threshold: float = 1.0
    reset: float | None = 0.0
    decay_input: bool = True
    surrogate: str = "Sigmoid"
    twist: str | None = None

    def build(self, channels: int) -> nn.Module:
        if self.kind == "LIF":
            tau = self.tau if self.decay_input else math.inf
            return LIF(tau, self.threshold, self.reset, self.decay_input)
        options = {
            "v_threshold": self.threshold,
            "v_reset": self.reset,
            "surrogate_function": _SURROGATES[self.surrogate](),
            "step_mode": "s" if self.twist == "single step" else "m",
        }
        if self.kind == "IFNode":
            node = neuron.IFNode(**options)
        elif self.kind == "ParametricLIFNode":
            options["decay_input"] = self.decay_input
            node = neuron.ParametricLIFNode(self.tau, **options)
        else:
            node = neuron.LIFNode(self.tau, self.decay_input, **options)
        if self.twist == "no spikes":
            node.surrogate_function.set_spiking_mode(False)
        elif self.twist == "hook":
            node.register_forward_hook(lambda _node, _x, spikes: spikes * 0.5)
        elif self.twist == "initial potential":
            node.set_reset_value("v", self.threshold / 2)
        elif self.twist == "learned threshold":
            node.v_threshold = nn.Parameter(torch.tensor(self.threshold))
        elif self.twist == "per channel":
            node.v_threshold = self.threshold * torch.linspace(0.5, 1, channels).reshape(-1, 1, 1)
        return node


def each_step(style: str, *layers: nn.Module) -> nn.Module:
    """Layers of images [B, C, H, W] for [T, N, C, H, W], in one of three ways to write it."""
    if style == "container":
        return layer.SeqToANNContainer(*layers)
    if style == "library":
        return nn.Sequential(*(_multi_step(module) for module in layers))
    return _EachStep(*layers)


class _EachStep(nn.Sequential):
    def forward(self, x):
        return at_each_step(x, *self)


def _multi_step(module: nn.Module) -> nn.Module:
    """SpikingJelly's class of a torch layer, in multi-step mode, with its parameters."""
    module.__class__ = getattr(layer, type(module).__name__)
    module._step_mode = "m"
    return module


@dataclass(frozen=True)
class ConvNode:
    """Convolution, BatchNorm, a pool before or after, and neurons; spikes or frames in."""

    channels: int = 8
    kernel: int = 3
    stride: int = 1
    depthwise: bool = False
    bias: bool = False
    norm: bool = True
    pool: str | None = None
    style: str = "own"
    node: Node = Node()

    def build(self, channels: int) -> tuple[nn.Module, int]:
        out = channels if self.depthwise else self.channels
        layers: list[nn.Module] = [
            nn.Conv2d(
                channels,
                out,
                self.kernel,
                self.stride,
                self.kernel // 2,
                groups=channels if self.depthwise else 1,
                bias=self.bias,
            )
        ]
        if self.norm:
            layers.append(nn.BatchNorm2d(out))
        if self.pool in ("max before", "average before"):
            layers.append(_POOLS[self.pool.split()[0]]())
        parts = [each_step(self.style, *layers), self.node.build(out)]
        if self.pool in ("max after", "average after", "overlapping after"):
            parts.append(each_step(self.style, _POOLS[self.pool.split()[0]]()))
        return nn.Sequential(*parts), out


_POOLS = {
    "max": lambda: nn.MaxPool2d(2),
    "average": lambda: nn.AvgPool2d(2),
    "overlapping": lambda: nn.MaxPool2d(3, 2, 1),
}


class _Residual(nn.Module):
    def __init__(self, body: nn.Module, join: str) -> None:
        super().__init__()
        self.body, self.join = body, join

    def forward(self, x):
        y = self.body(x)
        return {"add": x + y, "and": x * y, "iand": (1 - x) * y, "or": x + y - x * y}[self.join]


@dataclass(frozen=True)
class Residual:
    """A spike-element-wise shortcut around neurons."""

    join: str = "add"
    body: ConvNode = ConvNode()

    def build(self, channels: int) -> tuple[nn.Module, int]:
        body, _ = replace(self.body, channels=channels, stride=1, pool=None).build(channels)
        return _Residual(body, self.join), channels


class _Attention(nn.Module):
    """Spikformer's attention, on tokens [T, N, L, C] of an image, and its sum with the input."""

    def __init__(self, spec: Attention, channels: int) -> None:
        super().__init__()
        self.spec = spec
        for name, node in zip("qkvp", (spec.q, spec.k, spec.v, spec.project), strict=True):
            linear = nn.Linear(channels, channels, bias=spec.bias)
            self.add_module(name, linear)
            self.add_module(f"{name}_bn", nn.BatchNorm1d(channels))
            self.add_module(f"{name}_lif", node.build(channels))
        self.lif = spec.node.build(channels)

    def layer(self, name: str, x):
        t, n, tokens, channels = x.shape
        y = getattr(self, name)(x.flatten(0, 1))
        y = getattr(self, f"{name}_bn")(y.transpose(1, 2)).transpose(1, 2)
        return getattr(self, f"{name}_lif")(y.reshape(t, n, tokens, channels))

    def heads(self, name: str, x):
        return self.layer(name, x).unflatten(3, (self.spec.heads, -1)).transpose(2, 3)

    def forward(self, x):
        tokens = x.flatten(3).transpose(2, 3)
        q, k, v = (self.heads(name, tokens) for name in "qkv")
        k = k.transpose(-2, -1)
        y = q @ (k @ v) if self.spec.keys_first else (q @ k) @ v
        y = self.lif((y * self.spec.scale).transpose(2, 3).flatten(3))
        y = self.layer("p", y)
        y = y + tokens if self.spec.shortcut else y
        return y.transpose(2, 3).unflatten(3, x.shape[3:])


@dataclass(frozen=True)
class Attention:
    """Self-attention of spikes; channels are a multiple of `heads`, or it is left out."""

    heads: int = 2
    scale: float = 0.125
    bias: bool = False
    keys_first: bool = False
    shortcut: bool = True
    q: Node = Node()
    k: Node = Node()
    v: Node = Node()
    node: Node = Node(threshold=0.5)
    project: Node = Node()

    def build(self, channels: int) -> tuple[nn.Module, int]:
        return (
            _Attention(self, channels) if channels % self.heads == 0 else nn.Identity()
        ), channels


@dataclass(frozen=True)
class Dropout:
    """Does nothing in evaluation."""

    library: bool = False

    def build(self, channels: int) -> tuple[nn.Module, int]:
        return (layer.Dropout(0.3, step_mode="m") if self.library else nn.Dropout(0.3)), channels


class _Membrane(nn.Module):
    """Shortcuts between membrane potentials: x + norm(conv(node(x))), then neurons."""

    def __init__(self, spec: Membrane, channels: int) -> None:
        super().__init__()
        self.stem = each_step(
            spec.style,
            nn.Conv2d(channels, spec.channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(spec.channels),
        )
        self.branches = nn.ModuleList()
        for node in spec.nodes:
            conv = nn.Conv2d(spec.channels, spec.channels, 1, bias=False)
            layers = each_step(spec.style, conv, nn.BatchNorm2d(spec.channels))
            self.branches.append(nn.Sequential(node.build(spec.channels), layers))
        self.last = spec.last.build(spec.channels)

    def forward(self, x):
        x = self.stem(x)
        for branch in self.branches:
            x = x + branch(x)
        return self.last(x)


@dataclass(frozen=True)
class Membrane:
    """A convolution, and branches that add to its potentials."""

    channels: int = 8
    style: str = "own"
    nodes: tuple[Node, ...] = (Node(),)
    last: Node = Node()

    def build(self, channels: int) -> tuple[nn.Module, int]:
        return _Membrane(self, channels), self.channels


class _Module(nn.Module):
    """Quantized frames, blocks, and a head on what they give."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.quant = QuantUniform(8, signed=spec.signed)
        self.quant.scale.requires_grad_(False).fill_(1 / 32 if spec.signed else 1)
        blocks, channels = [], spec.channels
        for block in spec.blocks:
            module, channels = block.build(channels)
            blocks.append(module)
        self.blocks = nn.Sequential(*blocks)
        self.node = None if spec.head_node is None else spec.head_node.build(channels)
        self.head = nn.LazyLinear(spec.classes)

    def forward(self, x):
        x = self.quant(x)
        if self.spec.repeated:
            x = x.unsqueeze(0).repeat(self.spec.steps, 1, 1, 1, 1)
        y = self.blocks(x)
        if self.spec.head == "flatten":
            return self.head(y.flatten(2)).mean(0)
        if self.spec.head == "last":
            return self.head(y[-1].mean((2, 3)))
        if self.spec.head == "steps":
            return self.head(
                y.mean((3, 4)) if self.node is None else self.node(y.mean((3, 4)))
            ).mean(0)
        return self.head(y.mean((0, 3, 4)))


@dataclass(frozen=True)
class Spec:
    """A module, and the shape of its input; `twice` calls the last block twice."""

    blocks: tuple = (ConvNode(),)
    steps: int = 2
    channels: int = 2
    height: int = 7
    width: int = 6
    classes: int = 3
    signed: bool = False
    repeated: bool = False
    head: str = "rates"
    head_node: Node | None = None
    bits: tuple[str, ...] = ("4u",)
    twice: bool = False
    seed: int = 0

    def frames(self, count: int, seed: int) -> list[torch.Tensor]:
        shape = (1, self.channels, self.height, self.width)
        shape = shape if self.repeated else (self.steps, *shape)
        generator = torch.Generator().manual_seed(seed)
        if self.signed:
            return [torch.randn(shape, generator=generator) for _ in range(count)]
        rates = np.linspace(0.2, 2.0, count)
        return [torch.poisson(torch.full(shape, rate), generator) for rate in rates]

    def __str__(self) -> str:
        return _short(self)


def _short(value: object) -> str:
    """A part as Python writes it, without what it has by default."""
    if isinstance(value, tuple):
        return f"({''.join(f'{_short(v)}, ' for v in value)})"
    if not is_dataclass(value):
        return repr(value)
    plain = type(value)()
    given = (f.name for f in fields(value) if getattr(value, f.name) != getattr(plain, f.name))
    inside = ", ".join(f"{name}={_short(getattr(value, name))}" for name in given)
    return f"{type(value).__name__}({inside})"


def build(spec: Spec) -> nn.Module:
    """The module, quantized, with statistics of BatchNorm on which its neurons fire."""
    torch.manual_seed(spec.seed)
    module = _Module(spec)
    if spec.twice:
        module.blocks.append(module.blocks[-1])
    batch = torch.cat(spec.frames(8, spec.seed + 1), 0 if spec.repeated else 1)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(part.weight, 1.0, 2.5)
            nn.init.uniform_(part.bias, -0.3, 0.6)
            part.momentum = None
    with torch.no_grad():
        module.train()(batch)
    functional.reset_net(module)
    names = list(quantizable_layers(module))
    return apply_recipe(
        module, {name: spec.bits[i % len(spec.bits)] for i, name in enumerate(names)}
    ).eval()


class ImpossibleError(Exception):
    """A module that torch cannot run, as where an image is too small for its pools."""


@dataclass
class Outcome:
    """What became of a module: why it was refused, or how it compares with its own forward."""

    refused: str | None = None
    spikes: int = 0
    spikes_differ: int = 0
    same_class: int = 0
    drift: float = 0.0


def check(spec: Spec, compiled: bool = True) -> Outcome:
    """Export a module and lower it, or compile it for this machine, and compare spikes and logits.

    Raises `AssertionError` where the module is neither refused nor right, and `ImpossibleError`.
    """
    frames = spec.frames(_RECORDINGS, spec.seed + 2)
    try:
        module = build(spec)
    except RuntimeError as error:
        raise ImpossibleError from error
    expected, spikes = zip(*(_own_forward(module, x) for x in frames), strict=True)
    with tempfile.TemporaryDirectory(prefix="hqc-fuzz-") as temporary:
        path = Path(temporary) / "model.onnx"
        try:
            export(module, frames, path)
        except UserError as error:
            assert not path.exists()
            return Outcome(refused=f"export: {error.message}")
        try:
            return _compare(path, frames, expected, spikes, compiled)
        except UserError as error:
            return Outcome(refused=error.message)


def _own_forward(module: nn.Module, x: torch.Tensor) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Logits, and spikes of every layer of neurons that is called once."""
    spikes: dict[str, np.ndarray] = {}
    hooks = [
        part.register_forward_hook(
            lambda _part, _x, y, name=name: spikes.update({name: y.numpy().copy()}), prepend=True
        )
        for name, part in module.named_modules()
        if isinstance(part, LIF | neuron.BaseNode)
    ]
    functional.reset_net(module)
    try:
        with torch.no_grad():
            return module(x).numpy(), spikes
    finally:
        functional.reset_net(module)
        for hook in hooks:
            hook.remove()


def _compare(path, frames, expected, spikes, compiled: bool) -> Outcome:
    loaded = load_model(path)
    shape = loaded.graph.inputs[0].shape.numpy()
    shown = [np.ascontiguousarray(np.broadcast_to(x.numpy(), shape)) for x in frames]
    neurons = {n.name: n.outputs[0].name for n in loaded.graph if n.op_type == "LIF"}
    names = [name for name in spikes[0] if name in neurons]
    session = ReferenceSession(loaded, [neurons[name] for name in names])
    outcome = Outcome()
    for x, logits, theirs in zip(shown, expected, spikes, strict=True):
        found, *ours = session.run({"frames": x})
        differ = sum(
            int((a.reshape(theirs[name].shape) != theirs[name]).sum())
            for name, a in zip(names, ours, strict=True)
        )
        outcome.spikes += sum(a.size for a in ours)
        outcome.spikes_differ += differ
        if not differ:
            largest = max(np.abs(logits).max(), 1e-3)
            off = np.abs(found - logits).max()
            assert off <= 1e-4 * largest, f"exported: logits are off by {off:.3g} of {largest:.3g}"
    stages = lower(load_model(path), pipeline_for(load_target("host")))
    runs = {}
    if compiled:
        artifact = hqc.compile(path, output=path.with_name("build"))
        runs["run"] = np.stack([artifact.run(x).reshape(-1) for x in shown])
    recordings = [Recording(f"recording {i}", x) for i, x in enumerate(shown)]
    found = compare(stages, recordings, runs, "host")
    assert found.ok, f"lowered: {found}"
    integer = ReferenceSession(stages.integer)
    logits = np.stack([integer.run({"frames": x})[0].reshape(-1) for x in shown])
    wanted = np.stack(expected).reshape(logits.shape)
    outcome.same_class = int((logits.argmax(1) == wanted.argmax(1)).sum())
    outcome.drift = float(np.abs(logits - wanted).max() / max(np.abs(wanted).max(), 1e-3))
    return outcome


# Strategies.

_nodes = st.builds(
    Node,
    kind=st.sampled_from(["LIFNode", "IFNode", "ParametricLIFNode", "LIF"]),
    tau=st.sampled_from([2.0, 1.25, 4.0, 1.7, 16.0]),
    threshold=st.sampled_from([1.0, 0.5, 0.3, 1.37]),
    reset=st.sampled_from([0.0, None, -0.3, 0.2, -2.0]),
    decay_input=st.booleans(),
    surrogate=st.sampled_from(list(_SURROGATES)),
    twist=st.sampled_from([*[None] * 60, *_TWISTS]),
)
_styles = st.sampled_from(["own", "library", "container"])
_CHOICES = ("4u", "8u", "2u", "2l", "4l", "fp32")
_channels = st.sampled_from([8, 4, 16, 5, 12, 33])
_convs = st.builds(
    ConvNode,
    channels=_channels,
    kernel=st.sampled_from([3, 1, 5]),
    stride=st.sampled_from([1, 1, 2]),
    depthwise=st.sampled_from([False, False, False, True]),
    bias=st.booleans(),
    norm=st.sampled_from([True, True, True, False]),
    pool=st.sampled_from(
        [*[None] * 10, *["max after", "max before", "overlapping after"] * 3, "average after",
         "average before"]
    ),
    style=_styles,
    node=_nodes,
)  # fmt: skip
_blocks = st.one_of(
    _convs,
    st.builds(Residual, st.sampled_from([*["add"] * 6, *["and"] * 4, "iand", "or"]), _convs),
    st.builds(
        Attention,
        heads=st.sampled_from([2, 1, 4]),
        scale=st.sampled_from([0.125, 0.25, 1.0, 0.1]),
        bias=st.booleans(),
        keys_first=st.booleans(),
        shortcut=st.booleans(),
        q=_nodes,
        k=_nodes,
        v=_nodes,
        node=_nodes,
        project=_nodes,
    ),
    st.builds(Dropout, st.booleans()),
    st.builds(Membrane, _channels, _styles, st.lists(_nodes, max_size=2).map(tuple), _nodes),
)


@st.composite
def modules(draw: st.DrawFn) -> Spec:
    """A module: neurons behind a convolution, and up to three blocks more."""
    convs = _convs.map(lambda conv: replace(conv, depthwise=False))
    first = draw(st.one_of(convs, st.builds(Membrane, _channels, _styles, last=_nodes)))
    more = draw(st.lists(_blocks, max_size=3))
    head = draw(st.sampled_from([*["rates", "steps"] * 8, "last", "flatten"]))
    with_node = head == "steps" and draw(st.booleans())
    return Spec(
        blocks=(first, *more),
        steps=draw(st.sampled_from([2, 1, 3, 4, 8])),
        channels=draw(st.sampled_from([2, 3, 1])),
        height=draw(st.sampled_from([7, 8, 5, 13])),
        width=draw(st.sampled_from([6, 8, 9, 11])),
        classes=draw(st.sampled_from([3, 10, 2])),
        signed=draw(st.booleans()),
        repeated=draw(st.sampled_from([False, False, True])),
        head=head,
        head_node=draw(_nodes) if with_node else None,
        bits=tuple(draw(st.lists(st.sampled_from(_CHOICES), min_size=1, max_size=3))),
        twice=draw(st.sampled_from([*[False] * 30, True])),
        seed=draw(st.integers(0, 255)),
    )


@dataclass
class Fuzzing:
    """Verdicts so far, and the smallest module that is wrong in each way."""

    compiled: bool
    right: list[Outcome] = field(default_factory=list)
    parts: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    smallest: dict[str, tuple[Spec, str]] = field(default_factory=dict)

    def run(self, count: int, seed: int) -> None:
        """Draw and check so many modules."""
        for done in range(0, count, _ROUND):

            @hypothesis.seed(f"{seed} {done}")
            @_settings(min(_ROUND, count - done))
            @given(modules())
            def run(spec: Spec) -> None:
                self._check(spec)

            run()

    def _check(self, spec: Spec) -> None:
        try:
            outcome = check(spec, self.compiled)
        except ImpossibleError:
            hypothesis.reject()
        except Exception as error:
            kind = _kind(error)
            self.wrong[kind] += 1
            if self.wrong[kind] == 1:
                click.echo(f"wrong: {_text(error)}\n  {spec}")
            known = self.smallest.get(kind)
            if known is None or len(str(spec)) < len(str(known[0])):
                self.smallest[kind] = spec, _text(error)
            return
        if outcome.refused:
            self.refused[reason(outcome.refused)] += 1
        else:
            self.right.append(outcome)
            self.parts.update({type(block).__name__ for block in spec.blocks})

    def shrink(self, seconds: float) -> None:
        """Look for smaller modules that are wrong alike, for so long for each way."""
        for kind in self.smallest:
            until = time.monotonic() + seconds

            def fails(spec: Spec, kind: str = kind, until: float = until) -> bool:
                if time.monotonic() > until:
                    return False
                try:
                    check(spec, self.compiled)
                except Exception as error:
                    if _kind(error) == kind and len(str(spec)) < len(str(self.smallest[kind][0])):
                        self.smallest[kind] = spec, _text(error)
                    return _kind(error) == kind
                return False

            try:
                hypothesis.find(modules(), fails, settings=_settings(200))
            except hypothesis.errors.NoSuchExample:
                continue

    def report(self) -> str:
        """Counts of verdicts, and the smallest module that is wrong in each way."""
        spikes = sum(o.spikes for o in self.right)
        differ = sum(o.spikes_differ for o in self.right)
        drift = sorted(o.drift for o in self.right) or [0.0]
        same = sum(o.same_class for o in self.right)
        lines = [
            f"{len(self.right):6} right: {differ} of {spikes:,} spikes of the exported model are "
            f"not torch's; class as in torch {same}/{_RECORDINGS * len(self.right)}; logits off by "
            f"{drift[len(drift) // 2]:.2g} in the median, {drift[-1]:.2g} at most",
            f"{'':6} with {', '.join(f'{part} {n}' for part, n in self.parts.most_common())}",
            f"{self.refused.total():6} refused",
            *(f"{n:12} {kind}" for kind, n in self.refused.most_common()),
            f"{self.wrong.total():6} wrong",
        ]
        for kind, n in self.wrong.most_common():
            spec, text = self.smallest[kind]
            lines += [f"{n:12} {kind}", f"{'':13}{spec}", f"{'':13}{text}"]
        return "\n".join(lines)


def _settings(count: int) -> settings:
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


def _text(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}: {error}"


def _kind(error: Exception) -> str:
    return reason(_text(error))


@click.command()
@click.option("--count", default=50, show_default=True, help="How many modules.")
@click.option("--seed", default=0, show_default=True, help="Where random numbers begin.")
@click.option("--lower-only", is_flag=True, help="Do not compile.")
@click.option("--shrink", default=0.0, help="Seconds to look for smaller modules that are wrong.")
def main(count: int, seed: int, lower_only: bool, shrink: float) -> None:
    """Draw random torch modules and check them. Exit code 1 where one is wrong."""
    fuzzing = Fuzzing(not lower_only)
    fuzzing.run(count, seed)
    if shrink:
        fuzzing.shrink(shrink)
    click.echo(fuzzing.report())
    sys.exit(bool(fuzzing.wrong))


if __name__ == "__main__":
    main()
