"""What must hold of a network: it is refused, or compiled to what its floats say."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import re
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

import hqc
from hqc.compiler import lower, pipeline_for
from hqc.data.recordings import Recording
from hqc.dialect import find_op
from hqc.dialect.quant_uniform import code_range
from hqc.errors import UserError
from hqc.frontend.load import load_model
from hqc.passes import Pass
from hqc.targets import load_target
from hqc.verification import compare
from tests.fuzz.networks import Network

_FOLDER = Path(tempfile.gettempdir()) / f"hqc-fuzz-{os.getpid()}"


def check(network: Network, target: str | None = None, seed: int = 0) -> str:
    """Lower a network, and compile it for a target; "right", or "refused: " and why.

    Raises `AssertionError`, saying where the model was saved, where the integers are not what the
    floats say, where kernels or compiled code differ from the integers, and where anything but a
    `UserError` is raised.
    """
    with tempfile.TemporaryDirectory(prefix="hqc-fuzz-") as temporary:
        path = Path(temporary) / "fuzzed.onnx"
        onnx.save(network.proto, path)
        try:
            try:
                return _check(path, network.passes, target, seed)
            except UserError as error:
                return _refusal(network.proto, error)
        except AssertionError as error:
            error.add_note(f"the network: {_save(network, str(error))}")
            raise
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}: {error}"
            raise AssertionError(f"{text}\nthe network: {_save(network, text)}") from error


def _refusal(proto: onnx.ModelProto, error: UserError) -> str:
    """The verdict of a refusal, which must speak of what the user wrote."""
    own = {node.op_type for node in proto.graph.node}
    named = re.findall(r"node '[^']*' \((?:[\w.]+::)?(\w+)\)", error.message)
    assert own.issuperset(named), f"refused for an op that the model does not have: {error.message}"
    return f"refused: {error.message}"


def reason(text: str) -> str:
    """A refusal or a failure, without the names and numbers of one network."""
    first = re.sub(r"/\S*\.onnx", "_", text.removeprefix("refused: ").partition("\n")[0])
    return re.sub(r"[-+]?\d[\d.e+-]*", "N", re.sub(r"'[^']*'|\[[^]]*\]", "_", first))


def saved(kind: str) -> Path:
    """Where the smallest network that failed for that reason is, if one did in this process."""
    return _FOLDER / f"{hashlib.sha1(kind.encode()).hexdigest()[:8]}.onnx"


def _save(network: Network, text: str) -> Path:
    _FOLDER.mkdir(exist_ok=True)
    path, data = saved(reason(text)), network.proto.SerializeToString()
    if not path.exists() or path.stat().st_size > len(data):
        path.write_bytes(data)
    return path


@functools.cache
def _pipeline(target: str, passes: str | None) -> list[Pass]:
    return pipeline_for(load_target(target), passes)


def _check(path: Path, passes: str | None, target: str | None, seed: int) -> str:
    stages = lower(load_model(path), _pipeline(target or "host", passes))
    frames = recordings(stages.dialect, seed)
    _check_loading(path, stages.dialect, frames)
    data = [Recording(f"recording {number}", x) for number, x in enumerate(frames)]
    found = compare(stages, data, {}, "")
    assert not found.unexplained, "integers: " + _first(stages.dialect, found.unexplained)
    assert not found.kernels_differ, f"kernels: {found.kernels_differ} recordings differ"
    if target is not None:
        folder = path.parent / "data"
        folder.mkdir()
        for number, x in enumerate(frames):
            np.save(folder / f"{number}.npy", x)
        found = hqc.verify(path, target, data=folder, passes=passes)
        assert found.ok, f"compiled for {target}: {found}"
    return "right"


def _first(model: ir.Model, unexplained: Mapping[str, str]) -> str:
    """The first layer that rounding does not explain, and what it reads."""
    nodes = [n for n in model.graph if n.name in unexplained]
    node = nodes[0] if nodes else model.graph.outputs[0].producer()
    return f"{_text(node)}: {unexplained.get(node.name) or next(iter(unexplained.values()))}"


def _text(node: ir.Node | None, depth: int = 4) -> str:
    """A node and those before it, views left out, back to the neurons before."""
    if node is None:
        return "frames"
    if depth == 0 or (node.op_type == "LIF" and depth < 4):
        return node.op_type
    if node.op_type in ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose"):
        return _text(node.inputs[0].producer(), depth)
    read = [v for v in node.inputs if v is not None and v.const_value is None]
    return f"{node.op_type}({', '.join(_text(v.producer(), depth - 1) for v in read)})"


def recordings(model: ir.Model, seed: int) -> list[np.ndarray]:
    """Frames over all of the input's range: least, greatest, noise, a few counts, and beyond."""
    shape = model.graph.inputs[0].shape.numpy()
    node = next(
        n for n in model.graph if n.op_type == "QuantUniform" and n.inputs[0].is_graph_input()
    )
    given = find_op(node).attributes(node)
    low, high = code_range(given["bits"], given["signed"], given["narrow"])
    scale = float(node.inputs[1].const_value.numpy().item())
    rng = np.random.default_rng(seed)
    codes = [
        np.full(shape, low),
        np.full(shape, high),
        rng.integers(low, high, shape, endpoint=True),
        rng.integers(low, high, shape, endpoint=True) * (rng.random(shape) < 0.2),
        rng.poisson(0.3, shape),
        rng.uniform(low - 2, high + 2, shape),
    ]
    return [(c * scale).astype(np.float32) for c in codes]


def _check_loading(path: Path, dialect: ir.Model, frames: Sequence[np.ndarray]) -> None:
    """The model as loaded gives the logits of the file, for one frame where it repeats one."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")  # rounds a constant apart
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    original = onnxruntime.InferenceSession(str(path), options)
    loaded = onnxruntime.InferenceSession(
        ir.serde.serialize_model(dialect).SerializeToString(), options
    )
    (given,) = original.get_inputs()
    for x in frames[2:4]:
        repeats = math.prod(given.shape) < x.size
        image, shown = (x[:1], np.broadcast_to(x[:1], x.shape)) if repeats else (x, x)
        (expected,) = original.run(None, {given.name: image.reshape(given.shape)})
        (logits,) = loaded.run(None, {dialect.graph.inputs[0].name: np.ascontiguousarray(shown)})
        assert np.array_equal(expected, logits, equal_nan=True), "load: logits differ"
