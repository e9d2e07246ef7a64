"""`python -m tests.fuzz.unrolled`: random networks whose neurons are written out step by step.

Plain ONNX, as exporters leave it: ops of one step, a copy for every step, in any order and form.
Each must be raised to as many layers of neurons as were written, with the file's own logits, or be
refused. Half of them have numbers that floats hold exactly, so that ties are ties.
"""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
import onnx
import onnxruntime

from hqc.dialect import DIALECT
from hqc.errors import UserError
from hqc.frontend.input_quantizer import quantize_input
from hqc.frontend.load import load_model
from hqc.frontend.save import save_model
from tests import networks
from tests.fuzz.networks import Network
from tests.fuzz.oracle import check as check_lowered
from tests.fuzz.oracle import reason

_CLASSES = 3


@dataclass(eq=False)
class Neurons:
    """A layer of neurons of one form; `kept` is what it has of the step before."""

    charge: str
    fires: str
    reset: str
    keep: float
    threshold: np.ndarray
    level: float
    rest: float
    folded: bool
    kept: str | None = None
    fired: str | None = None


@dataclass(eq=False)
class Layer:
    """Weights, and what follows them: `neurons` that all read what `weights` give."""

    weights: Callable[[str], str]
    channels: int
    size: tuple[int, ...]
    neurons: Sequence[Neurons]
    shortcut: int | None
    of_potentials: bool
    currents: list[str] = field(default_factory=list)
    spikes: list[str] = field(default_factory=list)


class Unrolled(networks.Network):
    """A network in the making; `exact` has weights, thresholds and decays that are dyadic."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.steps = int(rng.integers(2, 10))
        sizes = [int(n) for n in rng.integers(1, 8, 2)]
        super().__init__((self.steps, 1, int(rng.integers(1, 4)), *sizes), _CLASSES)
        self.exact = self.chance(50)
        self.count = 0
        self._in_channels: dict[Callable[[str], str], int] = {}
        self._write()

    def chance(self, percent: float) -> bool:
        return bool(self.rng.random() * 100 < percent)

    def pick(self, *choices):
        return choices[int(self.rng.integers(len(choices)))]

    def __call__(self, op_type: str, *operands: object, **attributes) -> str:
        made = [x if isinstance(x, str) else self.constant(x) for x in operands]
        if op_type in ("Add", "Mul") and self.chance(50):
            made.reverse()
        return self.op(op_type, *made, **attributes)

    def drawn(self, shape: Sequence[int], fan_in: int) -> str:
        if self.exact:
            return self.constant(self.rng.integers(-2, 4, shape) / 4)
        return self.constant(self.rng.normal(size=shape) * 1.2 / np.sqrt(fan_in))

    def viewed(self, x: str, shape: Sequence[int]) -> str:
        """The same numbers, perhaps through ops that exporters leave."""
        match self.pick(*[""] * 12, "Identity", "Cast", "Unsqueeze", "Reshape"):
            case "Identity":
                return self.op("Identity", x)
            case "Cast":
                return self.op("Cast", x, to=1)
            case "Unsqueeze":
                axis = self.constant([self.pick(0, 1, -1)], np.int64)
                return self.op("Squeeze", self.op("Unsqueeze", x, axis), axis)
            case "Reshape":
                return self.view(self.view(x, (shape[0], int(np.prod(shape[1:])))), shape)
        return x

    def take(self, t: int) -> str:
        shape = self.frames[1:]
        if self.chance(60):
            return self.op("Gather", "frames", self.constant(t, np.int64), axis=0)
        ends = (self.constant([i], np.int64) for i in (t, t + 1, 0))
        return self.view(self.op("Slice", "frames", *ends), shape)

    def _write(self) -> None:
        layers = self._layers()
        outputs = []
        if self.chance(50):
            for t in range(self.steps):
                x = self.take(t)
                for number, layer in enumerate(layers):
                    x = self._step(layers, number, layer, x)
                outputs.append(x)
        else:
            outputs = [self.take(t) for t in range(self.steps)]
            for number, layer in enumerate(layers):
                outputs = [self._step(layers, number, layer, x) for x in outputs]
        self._logits(outputs, layers[-1])
        if self.chance(40):
            self._shuffle()

    def _layers(self) -> list[Layer]:
        layers: list[Layer] = []
        _, _, channels, *size = self.frames
        for _ in range(int(self.rng.integers(1, 5))):
            before = layers[-1] if layers else None
            width = int(self.rng.integers(1, 5))
            if before and len(before.size) == 2 and self.chance(30):
                layers.append(self._linear(channels * size[0] * size[1], width, flat=False))
            elif before is not None and not before.size:
                layers.append(self._linear(channels, width, flat=True))
            elif before and before.channels == channels and self.chance(15):
                alike = [x for x in layers if x.channels == channels and x.size]
                layers.append(self._layer(alike[-1].weights, channels, tuple(size)))
                if self._in_channels.get(alike[-1].weights) != channels:
                    layers[-1].weights = self._conv(channels, channels)
            else:
                layers.append(self._layer(self._conv(channels, width), width, tuple(size)))
            made = layers[-1]
            channels, size = made.channels, list(made.size)
            alike = [i for i, x in enumerate(layers[:-1]) if _shape(x) == _shape(made)]
            if alike and self.chance(40):
                made.shortcut = self.pick(*alike)
        return layers

    def _conv(self, inputs: int, outputs: int) -> Callable[[str], str]:
        k = self.pick(1, 3)
        weights = self.drawn((outputs, inputs, k, k), inputs * k * k)
        bias = [self.drawn((outputs,), 4)] if self.chance(50) else []
        norm = [self.drawn((outputs,), 1) for _ in range(3)] if self.chance(20) else []
        variance = self.constant(np.ones(outputs))

        def conv(x: str) -> str:
            y = self.op("Conv", x, weights, *bias, pads=[k // 2] * 4)
            if norm:
                y = self.op("BatchNormalization", y, *norm, variance, epsilon=0.0)
            return y

        self._in_channels[conv] = inputs
        return conv

    def _linear(self, inputs: int, outputs: int, flat: bool) -> Layer:
        weights, bias = self.drawn((outputs, inputs), inputs), self.drawn((outputs,), 4)
        matrix = self.drawn((inputs, outputs), inputs)
        product = self.chance(40)

        def linear(x: str) -> str:
            x = x if flat else self.op("Flatten", x, axis=1)
            if product:
                return self("Add", self.op("MatMul", x, matrix), bias)
            return self.op("Gemm", x, weights, bias, transB=1)

        return self._layer(linear, outputs, ())

    def _layer(self, weights: Callable[[str], str], channels: int, size: tuple[int, ...]) -> Layer:
        neurons = [self._neurons(channels, size) for _ in range(self.pick(1, 1, 1, 1, 2))]
        self.count += len(neurons)
        return Layer(weights, channels, size, neurons, None, self.chance(30))

    def _neurons(self, channels: int, size: tuple[int, ...]) -> Neurons:
        keep = self.pick(1.0, 0.5, 0.5)
        if not self.exact and keep < 1:
            keep = float(self.rng.uniform(0.1, 0.95))
        charge = self.pick("kept", "kept", "in place")
        if keep < 1:
            charge = self.pick("kept", "kept", "over tau", "by rate", "two products", "in place")
        rest = 0.0
        if charge in ("over tau", "by rate") and self.chance(20):
            rest = self.pick(0.25, -0.5)
        level = self.pick(0.5, 1.0, 1.0, 2.0) if self.exact else self.rng.uniform(0.3, 1.5)
        threshold = np.float32(level)
        shape = (1, channels, *size)
        if self.chance(30):
            threshold = np.full(self.pick((), (1,), (1,) * len(shape), shape), threshold)
        elif self.chance(15) and rest == 0:
            by_channel = (1, channels, *[1] * len(size))
            levels = 2.0 ** self.rng.integers(-1, 2, by_channel)
            threshold = levels if self.exact else self.rng.uniform(0.3, 1.5, by_channel)
        fires = self.pick(
            "difference", "at least", "above", "below", "not less", "sign", "heaviside", "no more",
            "heaviside above",
        )  # fmt: skip
        resets = ["product", "where", "less itself", "level", "where level"]
        resets += ["soft", "soft where", "soft scaled"]
        if charge != "in place" and rest == 0:
            resets.append("later")
        reset = self.pick(*resets)
        to = self.pick(0.25, -0.5, -1.0) if "level" in reset else 0.0
        if rest and reset in ("product", "where", "less itself"):
            reset, to = "level", rest
        if to >= np.min(threshold):
            to = -0.5
        return Neurons(charge, fires, reset, keep, np.asarray(threshold, np.float32), to, rest,
                       self.chance(40) and rest == 0)  # fmt: skip

    def _step(self, layers: Sequence[Layer], number: int, layer: Layer, x: str) -> str:
        shape = (1, layer.channels, *layer.size)
        current = layer.weights(x)
        if layer.shortcut is not None:
            other = layers[layer.shortcut]
            t = len(layer.spikes)
            added = other.currents if layer.of_potentials else other.spikes
            current = self("Add", current, added[t])
        current = self.viewed(current, shape)
        fired = [self._fire(n, current, shape) for n in layer.neurons]
        spikes = fired[0] if len(fired) == 1 else self("Add", *fired)
        layer.currents.append(current)
        layer.spikes.append(spikes)
        return spikes

    def _fire(self, n: Neurons, x: str, shape: Sequence[int]) -> str:
        h = self._charged(n, x, shape)
        if n.fired is not None:  # of the step before
            h = self("Sub", h, self("Mul", n.fired, n.threshold))
        h = self.viewed(h, shape)
        condition, s = self._compared(n, h)
        n.kept = self.viewed(self._reset(n, h, condition, s), shape)
        return self.viewed(s, shape)

    def _charged(self, n: Neurons, x: str, shape: Sequence[int]) -> str:
        if n.kept is None:
            if n.folded:
                if n.charge in ("kept", "in place"):
                    return x
                if n.charge == "over tau":
                    return self("Div", x, 1 / (1 - n.keep))
                return self("Mul", x, 1 - n.keep)
            n.kept = self.constant(np.full(shape, n.rest))
        v = n.kept
        distance = v if not n.rest else self("Sub", v, n.rest)
        if n.charge == "over tau":
            return self("Add", v, self("Div", self("Sub", x, distance), 1 / (1 - n.keep)))
        if n.charge == "by rate":
            return self("Add", v, self("Mul", self("Sub", x, distance), 1 - n.keep))
        if n.charge == "two products":
            return self("Add", self("Mul", v, n.keep), self("Mul", x, 1 - n.keep))
        if n.charge == "in place":
            return self("Sub", self("Add", v, x), self("Mul", v, 1 - n.keep))
        kept = v if n.keep == 1 else self("Mul", v, n.keep)
        return self("Add", kept, x)

    def _compared(self, n: Neurons, h: str) -> tuple[str, str]:
        """A condition, and a number."""
        gap = lambda: self("Sub", h, n.threshold)  # noqa: E731
        match n.fires:
            case "difference":
                condition = self("GreaterOrEqual", gap(), 0.0)
            case "at least":
                condition = self("GreaterOrEqual", h, n.threshold)
            case "above":
                condition = self("Greater", h, n.threshold)
            case "below":
                condition = self("Less", n.threshold, h)
            case "not less":
                condition = self("Not", self("Less", h, n.threshold))
            case "no more":
                condition = self("LessOrEqual", n.threshold, h)
            case "sign":
                s = self("Relu", self("Sign", gap()))
                return self("Cast", s, to=9), s
            case _:
                g = gap()
                side = self("Where", self("Less", g, 0.0), 0.0, 1.0)
                at = 0.0 if n.fires == "heaviside above" else 1.0
                s = self("Where", self("Equal", g, 0.0), at, side)
                return self("Cast", s, to=9), s
        s = self("Cast", condition, to=1) if self.chance(70) else self("Where", condition, 1.0, 0.0)
        return condition, s

    def _reset(self, n: Neurons, h: str, condition: str, s: str) -> str:
        match n.reset:
            case "product":
                return self("Mul", h, self("Sub", 1.0, s))
            case "less itself":
                return self("Sub", h, self("Mul", h, s))
            case "where" | "where level":
                return self("Where", condition, n.level, h)
            case "level":
                return self("Add", self("Mul", h, self("Sub", 1.0, s)), self("Mul", s, n.level))
            case "soft":
                return self("Sub", h, self("Mul", s, n.threshold))
            case "soft where":
                return self("Where", condition, self("Sub", h, n.threshold), h)
            case "soft scaled":
                return self("Add", h, self("Neg", self("Mul", n.threshold, s)))
            case "later":
                n.fired = s
        return h

    def _logits(self, outputs: Sequence[str], last: Layer) -> None:
        features = int(np.prod((last.channels, *last.size)))
        weights = self.constant(np.random.default_rng(5).normal(size=(_CLASSES, features)))
        gemm = lambda x, out="": self.op(  # noqa: E731
            "Gemm", self.op("Flatten", x, axis=1), weights, transB=1, out=out
        )
        if self.chance(30):
            outputs, gemm = [gemm(x) for x in outputs], None
        if self.chance(50):
            parts = [self.op("Unsqueeze", x, self.constant([0], np.int64)) for x in outputs]
            rates = self.mean(self.op("Concat", *parts, axis=0), [0])
        else:
            rates = outputs[0]
            for x in outputs[1:]:
                rates = self("Add", rates, x)
            rates = self("Div", rates, float(self.steps))
        if gemm:
            gemm(rates, "logits")
        else:
            self.op("Identity", rates, out="logits")

    def _shuffle(self) -> None:
        """Any order in which every node follows what it reads."""
        ready, waiting = [], list(self.nodes)
        given = {"frames", *(t.name for t in self.initializers)}
        self.nodes = []
        while waiting:
            ready = [n for n in waiting if given.issuperset(n.input)]
            node = self.pick(*ready)
            waiting.remove(node)
            given.update(node.output)
            self.nodes.append(node)

    def recordings(self) -> list[np.ndarray]:
        """Counts; else noise."""
        shape = (4, *self.frames)
        if self.exact:
            return list(self.rng.integers(0, 4, shape).astype(np.float32))
        return list(self.rng.uniform(0, 1.5, shape).astype(np.float32))


def _shape(layer: Layer) -> tuple[int, ...]:
    return layer.channels, *layer.size


def check(seed: int, folder: Path) -> str:
    """One network: "right", or "refused: " and why.

    Raises `AssertionError` where logits differ, where neurons are not found, and for anything but a
    `UserError`.
    """
    net = Unrolled(np.random.default_rng(seed))
    path = net.save(folder / "unrolled.onnx")
    try:
        model = load_model(path)
    except UserError as error:
        return f"refused: {error.message}"
    neurons = [n for n in model.graph if (n.domain, n.op_type) == (DIALECT, "LIF")]
    written = Counter(n.op_type for n in model.graph)
    assert len(neurons) == net.count, f"{len(neurons)} layers of {net.count} were found: {written}"
    raised = folder / "raised.onnx"
    save_model(model, raised)
    recordings = net.recordings()
    differences = [np.abs(_logits(path, x) - _logits(raised, x)).max() for x in recordings]
    wrong = sum(d > 1e-4 for d in differences)
    # One in thousands of potentials is so near a threshold that it rounds to either side.
    assert wrong <= (0 if net.exact else 1), f"logits differ by {differences}"
    quantize_input(model, recordings, None)
    save_model(model, raised)
    return check_lowered(Network(onnx.load(raised)), None, seed)


def _logits(path: Path, frames: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options).run(None, {"frames": frames})[0]


def outcome(seed: int) -> str:
    """What `check` says, or "wrong: " and what is."""
    with tempfile.TemporaryDirectory(prefix="hqc-fuzz-") as folder:
        try:
            return check(seed, Path(folder))
        except AssertionError as error:
            return f"wrong: {error}"
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            name = Path(where.filename).name
            return f"wrong: {type(error).__name__} at {name}:{where.lineno}: {error}"


@click.command()
@click.option("--minutes", type=float, default=5, help="How long.")
@click.option("--count", type=int, help="How many networks, in place of how long.")
@click.option("--seed", type=int, default=0, help="Of the first network; the next has the next.")
def main(minutes: float, count: int | None, seed: int) -> None:
    """Draw networks and check them. Exit code 1 where one is wrong."""
    until, verdicts, first = time.monotonic() + 60 * minutes, Counter[str](), {}
    number = seed
    while number < seed + count if count else time.monotonic() < until:
        found = outcome(number)
        kind, _, why = found.partition(": ")
        short = f"{kind}: {reason(why)}" if why else kind
        verdicts[short] += 1
        if first.setdefault(short, number) == number and why:
            click.echo(f"seed {number}: {found}")
        number += 1
    for short, n in verdicts.most_common():
        click.echo(f"{n:6} {short} (seed {first[short]})")
    sys.exit(any(short.startswith("wrong") for short in verdicts))


if __name__ == "__main__":
    main()
