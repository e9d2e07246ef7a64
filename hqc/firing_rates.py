"""Firing rates, measured on recordings, per packed activation of a kernel model.

That of frames is the share of their values that are not 0.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from hqc.dialect import KERNEL
from hqc.dialect.metadata import LISTED, RATE
from hqc.reference import ReferenceSession


def annotate_firing_rates(model: ir.Model, recordings: Iterable[np.ndarray]) -> None:
    """Run the recordings, write the mean rate of frames and packed values into their metadata, and
    of packed values how much there is to list."""
    watched = {v.name: v for node in model.graph for v in node.outputs if _has_rate(node, v)}
    session = ReferenceSession(model, list(watched))
    name = model.graph.inputs[0].name
    sums = np.zeros((len(watched), 2))
    runs = 0
    for frames in recordings:
        outputs = session.run({name: frames})[len(model.graph.outputs) :]
        sums += [_rates(a, v) for a, v in zip(outputs, watched.values(), strict=True)]
        runs += 1
    for (rate, listed), value in zip(sums / runs, watched.values(), strict=True):
        value.metadata_props[RATE] = f"{rate:.5f}"
        if value.dtype == ir.DataType.UINT32:
            value.metadata_props[LISTED] = f"{listed:.5f}"


def _has_rate(node: ir.Node, value: ir.Value) -> bool:
    packed = node.domain == KERNEL and value.dtype == ir.DataType.UINT32
    return packed or node.op_type == "QuantizeFrames"


def _rates(array: np.ndarray, value: ir.Value) -> tuple[float, float]:
    """The share of values that are not 0, and of packed ones the share of those or of the others,
    whichever are fewer in a row of a plane; 0 of frames."""
    if array.dtype != np.uint32:
        return np.count_nonzero(array) / array.size, 0
    planes = np.bitwise_count(array).sum(-1) / _channels(value)
    rows = planes.mean(2)  # of [T, H, W, planes]
    return planes.mean(), np.minimum(rows, 1 - rows).mean()


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
