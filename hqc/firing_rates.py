"""Firing rates, measured on recordings, per packed activation of a kernel model.

That of frames is the share of their values that are not 0.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from hqc.dialect import KERNEL
from hqc.dialect.metadata import RATE
from hqc.reference import ReferenceSession


def annotate_firing_rates(model: ir.Model, recordings: Iterable[np.ndarray]) -> None:
    """Run the recordings, write the mean rate of frames and packed values into their metadata."""
    watched = {v.name: v for node in model.graph for v in node.outputs if _has_rate(node, v)}
    session = ReferenceSession(model, list(watched))
    name = model.graph.inputs[0].name
    counts = np.zeros(len(watched))
    runs = 0
    for frames in recordings:
        outputs = session.run({name: frames})[len(model.graph.outputs) :]
        counts += [_rate(a) for a in outputs]
        runs += 1
    for count, value in zip(counts, watched.values(), strict=True):
        rate = count / runs
        if value.dtype == ir.DataType.UINT32:
            rate /= _channels(value)
        value.metadata_props[RATE] = f"{rate:.5f}"


def _has_rate(node: ir.Node, value: ir.Value) -> bool:
    packed = node.domain == KERNEL and value.dtype == ir.DataType.UINT32
    return packed or node.op_type == "QuantizeFrames"


def _rate(array: np.ndarray) -> float:
    """Spikes a position of packed words; the share of other values that are not 0."""
    if array.dtype != np.uint32:
        return np.count_nonzero(array) / array.size
    return np.bitwise_count(array).sum() / array[..., 0].size


def _channels(value: ir.Value) -> int:
    """How many channels a packed value has; its last words may have places for more."""
    node = value.producer()
    match node.op_type:
        case "AndSpikes" | "XorSpikes" | "JoinPositions" | "KeepSteps" | "Reshape":
            return _channels(node.inputs[0])
        case "SpikeConv" | "DenseConv":
            return node.inputs[1].shape.numpy()[0]
        case "SliceChannels":
            return node.attributes["count"].value
        case "ConcatChannels":
            return node.attributes["channels"].value + node.attributes["others"].value
        case "RearrangeSpikes":
            return node.inputs[2].shape.numpy()[0]
        case _:
            return node.attributes["channels"].value
