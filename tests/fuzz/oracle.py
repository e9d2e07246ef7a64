"""What must hold of a network: it is refused, or compiled to what its floats say."""

from __future__ import annotations

import functools
import hashlib
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
from hqc.compiler import Stages, lower, pipeline_for
from hqc.dialect import DIALECT, find_op
from hqc.dialect.quant_uniform import code_range
from hqc.errors import UserError
from hqc.frontend.load import load_model
from hqc.passes import Pass
from hqc.reference import ReferenceSession
from hqc.targets import load_target
from tests.fuzz.networks import Network

TOLERANCE = 1e-3
"""How far from its threshold, relative to the largest potential, a spike may differ."""


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
            return _check(path, network.passes, target, seed)
        except UserError as error:
            return f"refused: {error.message}"
        except AssertionError as error:
            error.add_note(f"the network: {_save(network, str(error))}")
            raise
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}: {error}"
            raise AssertionError(f"{text}\nthe network: {_save(network, text)}") from error


def reason(text: str) -> str:
    """A refusal or a failure, without the names and numbers of one network."""
    first = text.removeprefix("refused: ").partition("\n")[0]
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
    sessions = [_watching(stages.integer, "FixedPointLIF"), ReferenceSession(stages.kernels)]
    comparison = _Comparison(stages)
    for number, x in enumerate(frames):
        feeds = {stages.dialect.graph.inputs[0].name: x}
        logits, *spikes = sessions[0][0].run(feeds)
        (packed,) = sessions[1].run(feeds)
        assert np.array_equal(logits, packed), f"kernels: logits differ, recording {number}"
        comparison.check(feeds, dict(zip(sessions[0][1], spikes, strict=True)), logits, number)
    if target is not None:
        data = path.parent / "data"
        data.mkdir()
        for number, x in enumerate(frames):
            np.save(data / f"{number}.npy", x)
        found = hqc.verify(path, target, data=data, passes=passes)
        assert found.ok, f"compiled for {target}: {found}"
    return "right"


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
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    original = onnxruntime.InferenceSession(str(path), options)
    (given,) = original.get_inputs()
    loaded = ReferenceSession(dialect)
    for x in frames[2:4]:
        image = x[: given.shape[0]]
        shown = np.broadcast_to(image, x.shape) if len(image) < len(x) else x
        (expected,) = original.run(None, {given.name: image})
        (logits,) = loaded.run({dialect.graph.inputs[0].name: np.ascontiguousarray(shown)})
        assert np.array_equal(expected, logits, equal_nan=True), "load: logits differ"


def _watching(model: ir.Model, op_type: str) -> tuple[ReferenceSession, list[str]]:
    """A session that returns what those nodes give besides, and their names."""
    nodes = [n for n in model.graph if n.op_type == op_type]
    return ReferenceSession(model, [n.outputs[0].name for n in nodes]), [n.name for n in nodes]


class _Comparison:
    """Every layer of neurons in floats, given the spikes of the integers before it."""

    def __init__(self, stages: Stages) -> None:
        model = ir.serde.deserialize_model(ir.serde.serialize_model(stages.dialect))
        self._layers = [
            n for n in stages.dialect.graph if (n.domain, n.op_type) == (DIALECT, "LIF")
        ]
        proto = ir.serde.serialize_model(model)
        cut = {n.outputs[0].name for n in self._layers}
        kept = [n for n in proto.graph.node if n.output[0] not in cut]
        del proto.graph.node[:]
        proto.graph.node.extend(kept)
        for layer in self._layers:
            value = layer.outputs[0]
            proto.graph.input.append(
                onnx.helper.make_tensor_value_info(
                    value.name, onnx.TensorProto.FLOAT, value.shape.numpy()
                )
            )
        model = ir.serde.deserialize_model(proto)
        self._watched = sorted({n.inputs[0].name for n in self._layers} - cut)
        self._session = ReferenceSession(model, self._watched)
        (head,) = (n for n in stages.integer.graph if n.op_type == "IntegerLinear")
        self._units = head.inputs[3].const_value.numpy()

    def check(
        self,
        feeds: Mapping[str, np.ndarray],
        spikes: Mapping[str, np.ndarray],
        logits: np.ndarray,
        number: int,
    ) -> None:
        """Raise `AssertionError` naming the first layer that is not what floats say."""
        given = dict(feeds)
        for layer in self._layers:
            value = layer.outputs[0]
            found = spikes.get(layer.name, np.zeros(value.shape.numpy()))
            given[value.name] = found.reshape(value.shape.numpy()).astype(np.float32)
        expected, *inputs = self._session.run(given)
        values = given | dict(zip(self._watched, inputs, strict=True))
        for layer in self._layers:
            if layer.name in spikes:
                x = values[layer.inputs[0].name]
                _check_neurons(layer, x, given[layer.outputs[0].name], number)
        assert np.isfinite(expected).all(), "floats: logits are not finite"
        size = max(float(np.abs(expected).max()), 1e-6)
        off = np.abs(expected - logits).max(0)
        units = float((off / self._units).max())
        off = float(off.max()) / size
        assert off <= TOLERANCE or units <= 0.51, (
            f"logits: off by {off:.3g} of the largest, {units:.3g} units, recording {number}"
        )


def _check_neurons(node: ir.Node, x: np.ndarray, spikes: np.ndarray, number: int) -> None:
    attributes = find_op(node).attributes(node)
    threshold, tau = attributes["v_threshold"], attributes["tau"]
    assert np.isfinite(x).all(), f"floats: the input of {node.name!r} is not finite"
    v, worst, count, largest = np.zeros(x.shape[1:]), 0.0, 0, float(threshold)
    x = x.astype(np.float64)
    gains = 1 / tau if attributes["decay_input"] else 1.0
    for x_t, s in zip(x, spikes, strict=True):
        v = v * (1 - 1 / tau) + x_t * gains
        largest = max(largest, float(np.abs(v).max()))
        wrong = (v >= threshold) != (s > 0)
        count += int(wrong.sum())
        worst = max(worst, float(np.abs(v - threshold)[wrong].max(initial=0)))
        after = v - threshold if attributes["soft_reset"] else attributes["v_reset"]
        v = np.where(s > 0, after, v)
    assert worst <= TOLERANCE * largest, (
        f"spikes: {count} of {spikes.size} of {node.name!r} differ, up to {worst:.3g} from the "
        f"threshold {threshold:.3g}, recording {number}"
    )
