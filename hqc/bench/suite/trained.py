"""What a trained network shows of its layers: how often each fires, and what a search chose."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hqc.compiler import recordings_for
from hqc.dialect.integer_lif import NEURONS
from hqc.dialect.metadata import LAYER
from hqc.errors import UserError
from hqc.frontend.load import load_model
from hqc.reference import ReferenceSession

Kinds = Mapping[str, str]
"""The kind of each layer and neuron by its name; names are globs, the first that matches counts."""

STREAM = "stream"
"""The kind of neurons that read the residual stream: they fire as often as its sums are high."""

SPIKFORMER: Kinds = {
    "tokenizer.0.*": "first",
    "tokenizer.*": "tokenizer",
    "position.*": "position",
    "*.q.*": "q",
    "*.k.*": "k",
    "*.v.*": "v",
    "*.attention.lif": "attention",
    "*.proj.*": "proj",
    "*.mlp.0.*": "mlp.0",
    "*.mlp.1.*": "mlp.1",
    "head": "head",
}
"""The kinds of hqc's Spikformer, the trained one among them."""

_READS_STREAM = ("q", "mlp.0")


def kind_of(name: str, kinds: Kinds) -> str:
    """The kind of a layer. Raises `UserError` for one that has none."""
    for pattern, kind in kinds.items():
        if fnmatch.fnmatchcase(name, pattern):
            return kind
    raise UserError(f"the suite knows no kind for the layer {name!r}")


@dataclass(frozen=True)
class Trained:
    """For each kind of layers, in the network's order: quantizers, and spikes a value and step.

    A network with more layers of a kind takes them in turn again. `bias` is that of BatchNorm in a
    network that is fitted: without one, neurons whose potentials are as often negative as not do
    not fire in half of the steps at any threshold.
    """

    choices: Mapping[str, list[str]]
    rates: Mapping[str, list[float]]
    bias: float = 0.0


_UNTRAINED_RATES = [0.12, 0.24, 0.36, 0.48]

UNTRAINED = Trained(
    {kind: ["8u" if kind in ("first", "head") else "4u"] for kind in SPIKFORMER.values()},
    dict.fromkeys((*SPIKFORMER.values(), STREAM), _UNTRAINED_RATES),
    bias=1.0,
)
"""What networks are before training: BatchNorm makes all neurons fire much. Weights of 4 bits."""


def read_trained(folder: Path, recordings: int = 10) -> Trained:
    """Measure an example: `model.onnx`, on recordings of `sample`, and its `recipe.json`."""
    recipe = json.loads((folder / "recipe.json").read_text())
    choices: dict[str, list[str]] = {}
    for layer, choice in recipe.items():
        choices.setdefault(kind_of(layer, SPIKFORMER), []).append(choice)
    model = load_model(folder / "model.onnx")
    watched: list[tuple[str, str]] = []
    for node in model.graph:
        layer = node.metadata_props.get(LAYER, "")
        if node.op_type in NEURONS:
            watched.append((kind_of(node.name, SPIKFORMER), node.outputs[0].name))
        elif layer in recipe and kind_of(layer, SPIKFORMER) in _READS_STREAM:
            watched.append((STREAM, node.inputs[0].name))
    session = ReferenceSession(model, [value for _, value in watched])
    name = model.graph.inputs[0].name
    means = [
        [value.mean() for value in session.run({name: r.frames})[len(model.graph.outputs) :]]
        for r in recordings_for(folder / "model.onnx", model, None, recordings)
    ]
    rates: dict[str, list[float]] = {}
    for (kind, _), rate in zip(watched, np.mean(means, 0), strict=True):
        rates.setdefault(kind, []).append(float(rate))
    return Trained(choices, rates)
