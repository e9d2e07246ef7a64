"""An ONNX model as a network to round, run in onnxruntime without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial

import numpy as np
import onnx_ir as ir

from hqc.classes import class_of
from hqc.copies import copy_model
from hqc.data.recordings import Recordings
from hqc.dialect import DIALECT, attach_functions, find_op
from hqc.dialect.integer_lif import NEURONS
from hqc.dialect.integer_lif import integrate as integrate_levels
from hqc.dialect.lif import integrate
from hqc.dialect.metadata import LAYER
from hqc.passes import parse_pipeline, run_passes
from hqc.passes.graph import add_initializer, constant, integer
from hqc.post_training.kinds import kind_of
from hqc.post_training.network import Candidate, Choice, Layer, Network, bits_of
from hqc.post_training.rounding import range_scale, rounded
from hqc.reference import FastSession, ReferenceSession
from hqc.threads import in_threads

_INTEGRATE: dict[str, Callable] = {"LIF": integrate, "IntegerLIF": integrate_levels}
_MOST_BYTES = 1 << 30
"""Bytes of potentials that are kept; where these are too few, drift reads fewer recordings."""

_LEAST = 1e-8
"""Size of a potential below which drift is not relative to it."""


@dataclass(frozen=True)
class _Place:
    """Where a layer's weights are: an input of its node, whose channels are along `axis`."""

    node: str
    index: int
    axis: int


def float_layers(model: ir.Model) -> dict[str, tuple[Layer, _Place]]:
    """The layers whose weights are floats, by name: Conv, Gemm and MatMul with a matrix.

    The model's constants are folded, so that views of weights are weights. A matrix that sums past
    time steps, as of a current that decays, is no layer's.
    """
    found = {}
    steps = model.graph.inputs[0].shape.numpy()[0]
    for node in model.graph:
        place = None if node.domain else _place(node)
        if place is None:
            continue
        name = node.metadata_props.get(LAYER, node.name)
        weights = constant(node.inputs[place.index])
        if place.index == 0 and _sums_past_steps(weights, steps):
            continue
        kind = kind_of(
            name,
            linear=node.op_type != "Conv",
            groups=integer(node, "group", 1),
            window=weights.shape[2:] if node.op_type == "Conv" else (),
            repconv="repconv" in name.lower(),
        )
        found[name] = Layer(name, kind, weights), place
    return found


def _sums_past_steps(weights: np.ndarray, steps: int) -> bool:
    return weights.shape == (steps, steps) and not np.triu(weights, 1).any()


def _place(node: ir.Node) -> _Place | None:
    def is_constant(index: int, ndim: int | None) -> bool:
        weights = constant(node.inputs[index])
        return weights is not None and ndim in (None, weights.ndim)

    match node.op_type:
        case "Conv" if is_constant(1, None):
            return _Place(node.name, 1, 0)
        case "Gemm" if is_constant(1, 2):
            return _Place(node.name, 1, 0 if integer(node, "transB", 0) else 1)
        case "MatMul" if is_constant(1, 2):
            return _Place(node.name, 1, 1)
        case "MatMul" if is_constant(0, 2):
            return _Place(node.name, 0, 0)
    return None


class _Session:
    """A model in onnxruntime whose layers' weights are fed, with the potentials of its neurons.

    Weights that are inputs need no new session for each candidate.
    """

    def __init__(
        self, model: ir.Model, places: dict[str, _Place], *, with_potentials: bool = False
    ) -> None:
        model = run_passes(copy_model(model), parse_pipeline("fold-quantizers"))
        by_name = {node.name: node for node in model.graph}
        for name, place in places.items():
            old = by_name[place.node].inputs[place.index]
            fed = ir.Value(name=f"{name}/fed", shape=old.shape, type=old.type)
            model.graph.inputs.append(fed)
            by_name[place.node].replace_input_with(place.index, fed)
        model = run_passes(model, parse_pipeline("fold-batch-norm"))
        self.frames = model.graph.inputs[0].name
        neurons = [n for n in model.graph if n.domain == DIALECT and n.op_type in NEURONS]
        self._neurons = [
            (n.inputs[0].name, partial(_INTEGRATE[n.op_type], **find_op(n).attributes(n)))
            for n in (neurons if with_potentials else ())
        ]
        watched = dict.fromkeys(name for name, _ in self._neurons)
        self._watched = [name for name in watched if name != self.frames]
        model = run_passes(model, parse_pipeline("unroll-lif"))
        self._session = FastSession(model, self._watched)

    def logits(self, frames: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
        """The logits of one recording."""
        return self._session.run({self.frames: frames, **weights})[0]

    def potentials(self, frames: np.ndarray, weights: dict[str, np.ndarray]) -> list[np.ndarray]:
        """What every layer of neurons reaches before it fires; without neurons, the logits."""
        logits, *values = self._session.run({self.frames: frames, **weights})
        by_name = {self.frames: frames, **dict(zip(self._watched, values, strict=True))}
        return [charge(by_name[name])[0] for name, charge in self._neurons] or [logits]


class OnnxNetwork(Network):
    """A dialect model with float weights.

    `drop` is measured on `measured`, numbers of recordings; `drift` on `watched`. `truth` is the
    class of every recording, `float_classes` what the float network says, for which `right` is
    counted. `per_channel` gives each output channel of a layer its own scale.
    """

    def __init__(
        self,
        model: ir.Model,
        recordings: Recordings,
        *,
        truth: np.ndarray,
        float_classes: np.ndarray,
        measured: Sequence[int],
        watched: Sequence[int],
        per_channel: bool,
    ) -> None:
        self.model, self._recordings, self._truth = model, recordings, truth
        self._measured, self._per_channel = list(measured), per_channel
        found = float_layers(model)
        self.layers = {name: layer for name, (layer, _) in found.items()}
        self._places = {name: place for name, (_, place) in found.items()}
        self._right = (float_classes == truth)[self._measured].mean()
        self._session = _Session(model, self._places)
        self._classes = model.graph.outputs[0].shape.numpy()[-1]
        self._watched = list(watched)
        self._rounded = lru_cache(maxsize=None)(self._round)

    def drop(self, choices: Candidate) -> float:
        """Accuracy lost on the measured recordings."""
        weights = self._weights(choices)

        def is_right(number: int) -> bool:
            logits = self._session.logits(self._recordings[number].frames, weights)
            return class_of(logits, self._classes) == self._truth[number]

        return float(self._right - np.mean(in_threads(is_right, self._measured)))

    def drift(self, choices: Candidate) -> float:
        """How far membrane potentials move on the watched recordings."""
        session, floats, sizes = self._potentials
        weights = self._weights(choices)

        def moved(pair: tuple[int, list[np.ndarray]]) -> list[float]:
            number, before = pair
            after = session.potentials(self._recordings[number].frames, weights)
            return [_total(np.abs(a - b)) for a, b in zip(after, before, strict=True)]

        distance = np.sum(in_threads(moved, floats), axis=0)
        return float(np.mean(distance / sizes))

    @cached_property
    def _potentials(self) -> tuple[_Session, list[tuple[int, list[np.ndarray]]], np.ndarray]:
        """A session that gives potentials, the float network's by recording, and their sizes."""
        session = _Session(self.model, self._places, with_potentials=True)
        weights = self._weights({})

        def run(number: int) -> tuple[int, list[np.ndarray]]:
            return number, session.potentials(self._recordings[number].frames, weights)

        first = run(self._watched[0])
        fitting = max(_MOST_BYTES // max(sum(v.nbytes for v in first[1]), 1), 1)
        floats = [first, *in_threads(run, self._watched[1:fitting])]
        counts = np.array([v.size for v in first[1]]) * len(floats)
        sizes = np.sum([[_total(np.abs(v)) for v in values] for _, values in floats], axis=0)
        return session, floats, np.maximum(sizes, _LEAST * counts)

    def rounded(self, recipe: Candidate) -> dict[str, np.ndarray]:
        """The weights of the given layers, rounded."""
        return {name: self._rounded(name, choice) for name, choice in recipe.items()}

    def _weights(self, choices: Candidate) -> dict[str, np.ndarray]:
        """What is fed for a candidate."""
        return {
            f"{name}/fed": self._rounded(name, choices[name]) if name in choices else layer.weights
            for name, layer in self.layers.items()
        }

    def _round(self, name: str, choice: Choice) -> np.ndarray:
        return rounded(self.layers[name].weights, bits_of(choice), self._axis(name))

    def _axis(self, name: str) -> int | None:
        """The axis that has a scale for each index, None for one scale."""
        return self._places[name].axis if self._per_channel else None

    def finish(self, recipe: dict[str, Choice], **found: object) -> dict:
        """Put a quantizer before every layer of the model, and its rounded weights before that."""
        graph = self.model.graph
        by_name = {node.name: node for node in graph}
        for name, choice in recipe.items():
            place, bits = self._places[name], bits_of(choice)
            node, axis = by_name[place.node], self._axis(name)
            scale = range_scale(self.layers[name].weights, bits, axis)
            attributes = {"bits": bits, "signed": 1, "narrow": 0, "axis": axis or 0}
            old = node.inputs[place.index]
            # A quantizer leaves what it gave as it is: the file can be compressed well.
            weights = add_initializer(graph, self._rounded(name, choice), f"{name}.weight")
            scales = add_initializer(graph, scale, f"{name}.scale")
            quantizer = ir.node(
                "QuantUniform", [weights, scales], attributes,
                domain=DIALECT, name=f"{name}/QuantUniform",
            )  # fmt: skip
            made = quantizer.outputs[0]
            made.name, made.shape, made.type = quantizer.name, old.shape, old.type
            graph.insert_before(node, quantizer)
            node.replace_input_with(place.index, made)
            if not old.uses():
                graph.initializers.pop(old.name)
        attach_functions(self.model)
        return {"choices": recipe, **found}


def classes_of(
    model: ir.Model, recordings: Recordings, progress: Callable[[int], None] = lambda done: None
) -> np.ndarray:
    """The class that a model gives each recording, as `hqc run` does."""
    session, frames = ReferenceSession(model), model.graph.inputs[0].name
    classes = model.graph.outputs[0].shape.numpy()[-1]

    def run(number: int) -> int:
        (logits,) = session.run({frames: recordings[number].frames})
        progress(number)
        return class_of(logits, classes)

    return np.array(in_threads(run, range(len(recordings))))


def spread(count: int, most: int) -> list[int]:
    """At most so many of `count` numbers, evenly spread from the first to the last."""
    return np.linspace(0, count - 1, min(most, count)).astype(int).tolist()


def _total(values: np.ndarray) -> float:
    return float(values.sum(dtype=np.float64))
