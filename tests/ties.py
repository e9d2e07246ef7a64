"""Whether a network's integers fire as its floats do, wherever rounding does not decide.

Sums of floats are rounded as a processor likes, and integers are rounded too: a potential that
comes nearer to its threshold than either may fire in one and not in the other. That spike then
changes what later layers see, so only the first layer in which spikes differ tells anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import numpy as np
import onnx_ir as ir
import torch

from hqc.compiler import lower, pipeline_for
from hqc.data.recordings import Recording
from hqc.frontend.load import load_model
from hqc.models.lif import integrate
from hqc.reference import ReferenceSession
from hqc.targets import load_target

TIE = 1e-4
"""Potentials in fixed point keep 2^-18 or finer, a sum of some has an error of 16 times that."""


def assert_spikes_differ_at_ties_alone(
    model: str | PathLike[str], recordings: Sequence[Recording]
) -> None:
    """Compare every layer of neurons on every recording, up to the first that differs."""
    stages = lower(load_model(model), pipeline_for(load_target("host")))
    frames = stages.dialect.graph.inputs[0].name
    floats, integers = (_neurons(m) for m in (stages.dialect, stages.integer))
    layers = [name for name in floats if name in integers]
    assert len(layers) > len(floats) / 2
    watched = [v.name for name in layers for v in (floats[name].inputs[0], floats[name].outputs[0])]
    in_floats = ReferenceSession(stages.dialect, watched)
    in_integers = ReferenceSession(stages.integer, [integers[n].outputs[0].name for n in layers])
    for recording in recordings:
        _, *values = in_floats.run({frames: recording.frames})
        _, *ours = in_integers.run({frames: recording.frames})
        for name, x, spikes, found in zip(layers, values[::2], values[1::2], ours, strict=True):
            differing = spikes.astype(bool) != found.reshape(spikes.shape).astype(bool)
            if differing.any():
                potentials, threshold = _potentials(floats[name], x)
                first = differing & (np.cumsum(differing, 0) == 1)
                distance = np.abs(potentials - threshold)[first]
                assert distance.max() < TIE, (recording.name, name, distance)
                break


def _neurons(model: ir.Model) -> dict[str, ir.Node]:
    return {n.name: n for n in model.graph if n.op_type in ("LIF", "FixedPointLIF")}


def _potentials(neurons: ir.Node, x: np.ndarray) -> tuple[np.ndarray, float]:
    """Membrane potentials [T, ...] of an `LIF` in double precision, and their threshold."""
    said = {name: attribute.value for name, attribute in neurons.attributes.items()}
    threshold = said.get("v_threshold", 1.0)
    reset = None if said.get("soft_reset", 0) else said.get("v_reset", 0.0)
    parameters = said.get("tau", 2.0), threshold, reset, bool(said.get("decay_input", 1))
    return integrate(torch.from_numpy(x).double(), *parameters)[0].numpy(), threshold
