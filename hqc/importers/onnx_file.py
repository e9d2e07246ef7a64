"""ONNX as exporters of frameworks write it, of all time steps or of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from hqc.errors import UnsupportedModelError, UserError
from hqc.frontend.load import read_model
from hqc.importers.importer import Asked, importer


@importer("onnx", "an ONNX model", lambda path: path.suffix == ".onnx", takes=("time_steps",))
def read_onnx(path: Path, asked: Asked) -> onnx.ModelProto:
    """The model as it is; what it writes out is raised where every model is loaded.

    With `time_steps` it is a model of one step, whose first input is a frame and whose first output
    is what that gives; other inputs are states before the step, zeros at first, and other outputs
    the states behind it, in the same order. Logits are the mean over time.
    """
    proto = read_model(path)
    return proto if asked.time_steps is None else _over_time(path, proto, asked.time_steps)


def _over_time(path: Path, proto: onnx.ModelProto, steps: int) -> onnx.ModelProto:
    """The model as the body of a Scan."""
    graph = proto.graph
    weights = {tensor.name for tensor in graph.initializer}
    frame, *states = [i for i in graph.input if i.name not in weights]
    logits, *following = graph.output
    _check(path, states, following)
    body = helper.make_graph(graph.node, "step", [*states, frame], [*following, logits])
    zeros = [
        numpy_helper.from_array(np.zeros(_sizes(path, s), np.float32), f"{s.name}/at_rest")
        for s in states
    ]
    every = f"{logits.name}/every_step"
    last = [f"{s.name}/last" for s in states]
    scan = helper.make_node(
        "Scan", [*(z.name for z in zeros), "frames"], [*last, every],
        name="step", body=body, num_scan_inputs=1,
    )  # fmt: skip
    mean, axes = _mean(proto, every)
    frames = helper.make_tensor_value_info(
        "frames", onnx.TensorProto.FLOAT, [steps, *_sizes(path, frame)]
    )
    rank = [None] * len(logits.type.tensor_type.shape.dim)
    unrolled = helper.make_graph(
        [scan, mean],
        graph.name,
        [frames],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, rank)],
        [*graph.initializer, *zeros, *axes],
    )
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    made.graph.CopyFrom(unrolled)
    return made


def _mean(proto: onnx.ModelProto, name: str) -> tuple[onnx.NodeProto, list[onnx.TensorProto]]:
    """The mean over the first axis: which axes those are became an input in opset 18."""
    version = max(o.version for o in proto.opset_import if o.domain in ("", "ai.onnx"))
    if version < 18:
        return helper.make_node("ReduceMean", [name], ["logits"], axes=[0], keepdims=0), []
    axes = numpy_helper.from_array(np.array([0]), f"{name}/axes")
    return helper.make_node("ReduceMean", [name, axes.name], ["logits"], keepdims=0), [axes]


def _check(
    path: Path, states: list[onnx.ValueInfoProto], following: list[onnx.ValueInfoProto]
) -> None:
    if not states:
        raise UserError(
            f"{path}: --time-steps is for a model of one step that is given its states, and this "
            "one has a single input",
            hint="leave it out: the model takes all time steps, as many as its input says",
        )
    if len(states) != len(following):
        raise UnsupportedModelError(
            f"{path}: {len(states)} inputs behind the frame, {len(following)} outputs behind the "
            "logits",
            hint="export the step so that every state goes in and comes out, in the same order",
        )
    for before, after in zip(states, following, strict=True):
        a, b = _sizes(path, before), _sizes(path, after)
        if a != b:
            raise UnsupportedModelError(
                f"{path}: state {before.name!r} has shape {a}, and {after.name!r} behind the step "
                f"{b}",
                hint="export the step so that its states come out in the order that they go in",
            )


def _sizes(path: Path, value: onnx.ValueInfoProto) -> list[int]:
    dims = value.type.tensor_type.shape.dim
    sizes = [d.dim_value for d in dims]
    if not value.type.tensor_type.HasField("shape") or not all(sizes):
        raise UserError(
            f"{path}: {value.name!r} has no static shape",
            hint="export the model of one step with a batch of 1 and without dynamic axes",
        )
    return sizes
