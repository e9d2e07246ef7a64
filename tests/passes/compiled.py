"""What a network that is written node by node has to end in: code that says what its floats say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

import hqc
from hqc.data.synthetic import frames_over_range
from hqc.frontend.load import load_model
from hqc.reference import ReferenceSession
from tests.refusals.case import Small


def compiles_to_what_its_floats_say(
    write: Callable[[Small], onnx.ModelProto | None], folder: Path
) -> None:
    """By the verdict, on the host; `write` adds nodes to a network, or returns the model."""
    net = Small(folder)
    proto = write(net)
    path = net.save(net.path)
    if proto is not None:
        onnx.save(proto, path)
    found = hqc.verify(path, "host")
    assert found.ok, found
    dialect = load_model(path)
    name = dialect.graph.inputs[0].name
    session = ReferenceSession(dialect)
    logits = [session.run({name: r.frames})[0] for r in frames_over_range(dialect)]
    assert not all(np.array_equal(logits[0], x) for x in logits[1:]), "it says nothing"
