"""Firing rates, measured on recordings, per packed activation of a kernel model."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from hqc.dialect import KERNEL
from hqc.dialect.metadata import RATE
from hqc.reference import ReferenceSession


def annotate_firing_rates(model: ir.Model, recordings: Iterable[np.ndarray]) -> None:
    """Run the recordings, write each packed value's mean rate into its metadata."""
    watched = {
        v.name: v
        for node in model.graph
        if node.domain == KERNEL
        for v in node.outputs
        if v.dtype == ir.DataType.UINT32
    }
    session = ReferenceSession(model, list(watched))
    name = model.graph.inputs[0].name
    counts = np.zeros(len(watched))
    runs = 0
    for frames in recordings:
        outputs = session.run({name: frames})[len(model.graph.outputs) :]
        counts += [np.bitwise_count(a).sum() / a[..., 0].size for a in outputs]
        runs += 1
    for count, value in zip(counts, watched.values(), strict=True):
        value.metadata_props[RATE] = f"{count / runs / _channels(value):.5f}"


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
