"""Dialect models as QDQ and QONNX, and back: nothing is lost, and both run as the dialect does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, seed, settings
from onnx import TensorProto
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx

from hqc.cli import cli
from hqc.data.synthetic import frames_over_range
from hqc.dialect import DIALECT, find_op
from hqc.dialect.metadata import LAYER
from hqc.errors import UserError
from hqc.exporters import Wanted, find_exporter
from hqc.frontend.foreign.constants import Constants
from hqc.frontend.load import load_model
from hqc.reference import ReferenceSession
from tests.fuzz.networks import Network, networks
from tests.refusals.case import D, Small

EXAMPLE = Path(__file__).parents[2] / "examples" / "nmnist" / "model.onnx"


def described(model: ir.Model) -> dict[str, tuple]:
    """Names of layers, neurons and quantizers, with all that is theirs."""
    constants = Constants()
    found = {}
    for node in model.graph:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            found[node.name] = node.op_type, node.metadata_props[LAYER]
        if node.domain != DIALECT:
            continue
        attributes = find_op(node).attributes(node)
        arrays: list = []
        if node.op_type.startswith("Quant"):
            scale = constants.array(node.inputs[1]).reshape(-1)
            rank = len(node.inputs[0].shape)
            attributes["axis"] = attributes["axis"] % rank if scale.size > 1 else 0
            arrays = [scale.tolist()]
            if constants.is_constant(node.inputs[0]):
                arrays.append(_quantized(node, constants).tolist())
        found[node.name] = node.op_type, attributes, *arrays
    return found


def _quantized(node: ir.Node, constants: Constants) -> np.ndarray:
    op = find_op(node)
    return op.reference(*(constants.array(v) for v in node.inputs), **op.attributes(node))


def run_qdq(path: Path, name: str, frames: np.ndarray) -> np.ndarray:
    """Stock onnxruntime's result, without its optimizations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(path, options).run(None, {name: frames})[0]


def run_qonnx(path: Path, name: str, frames: np.ndarray) -> np.ndarray:
    """The result of QONNX's executor."""
    model = ModelWrapper(str(path))
    return execute_onnx(model, {name: frames})[model.graph.output[0].name]


RUNS = {"qdq": run_qdq, "qonnx": run_qonnx}
ROUNDING = {"qdq": 0, "qonnx": 1e-5}
"""QONNX runs each node in onnxruntime with its optimizations, which add in another order."""


def goes_around(model: ir.Model, form: str, path: Path) -> None:
    """Write a model, run it elsewhere, read it, and compare."""
    before = described(model)
    find_exporter(form).write(model, path, Wanted())
    assert described(model) == before, "it was changed"
    back = load_model(path)
    assert described(back) == before
    name = model.graph.inputs[0].name
    ours, theirs = ReferenceSession(model), ReferenceSession(back)
    for recording in frames_over_range(model):
        (expected,) = ours.run({name: recording.frames})
        (found,) = theirs.run({name: recording.frames})
        np.testing.assert_array_equal(found, expected)
        elsewhere = RUNS[form](path, name, recording.frames)
        np.testing.assert_allclose(elsewhere, expected, rtol=ROUNDING[form])


@pytest.mark.parametrize("form", RUNS)
def test_the_example(form, tmp_path):
    goes_around(load_model(EXAMPLE), form, tmp_path / "model.onnx")


@pytest.mark.parametrize("form", RUNS)
def test_networks_that_are_drawn(form, tmp_path):
    done = []

    @seed(0)
    @settings(
        max_examples=15,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(networks())
    def draw(network: Network) -> None:
        path = tmp_path / "drawn.onnx"
        onnx.save(network.proto, path)
        try:
            model = load_model(path)
        except UserError:
            return
        goes_around(model, form, tmp_path / "written.onnx")
        done.append(path)

    draw()
    assert len(done) > 5


def test_weights_are_small_integers_in_the_file(tmp_path):
    find_exporter("qdq").write(load_model(EXAMPLE), tmp_path / "model.onnx", Wanted())
    proto = onnx.load(tmp_path / "model.onnx")
    kinds = {i.data_type for i in proto.graph.initializer if i.name.endswith(".codes")}
    assert kinds <= {TensorProto.INT4, TensorProto.INT8}
    assert not {n.op_type for n in proto.graph.node} & {"QuantUniform", "QuantPow2"}


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("op_type", ["MatMul", "Gemm"])
def test_onnxruntime_with_its_optimizations(op_type, bits, tmp_path):
    """Its kernels of MatMul and 4 or 8 bits round activations; none is put in place here."""
    net, rng = Small(tmp_path, (1, 1, 1, 8, 64)), np.random.default_rng(0)
    net.classes = 8 * 48
    x = net.view(net.input(), (8, 64))
    weights = net.quantized(rng.normal(size=(64, 48)), bits)
    net.op("Reshape", net.op(op_type, x, weights), net.constant([1, -1], np.int64), out="logits")
    model = load_model(net.save(net.path))
    find_exporter("qdq").write(model, tmp_path / "qdq.onnx", Wanted())
    frames = rng.integers(0, 256, net.frames).astype(np.float32)
    (expected,) = ReferenceSession(model).run({"frames": frames})
    stock = onnxruntime.InferenceSession(tmp_path / "qdq.onnx")
    (found,) = stock.run(None, {"frames": frames})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("form", RUNS)
def test_the_commands(form, tmp_path):
    written, back = str(tmp_path / "written.onnx"), str(tmp_path / "back.onnx")
    commands = (
        ["convert", str(EXAMPLE), "--to", form, "-o", written],
        ["import", written, "-o", back],
    )
    for command in commands:
        result = CliRunner().invoke(cli, command)
        assert result.exit_code == 0, result.output
    assert described(load_model(back)) == described(load_model(EXAMPLE))


def test_metadata_that_are_not_true_are_not_believed(tmp_path):
    find_exporter("qdq").write(load_model(EXAMPLE), tmp_path / "model.onnx", Wanted())
    proto = onnx.load(tmp_path / "model.onnx")
    entries = [e for n in proto.graph.node for e in n.metadata_props if e.key == "hqc.stands_for"]
    texts = ["[]", "{", '{"op_type": "LIF"}', '{"op_type": "QuantUniform", "bits": 2}']
    for entry, text in zip(entries, texts * len(entries), strict=False):
        entry.value = text
    onnx.save(proto, tmp_path / "model.onnx")
    expected, found = load_model(EXAMPLE), load_model(tmp_path / "model.onnx")
    for recording in frames_over_range(expected):
        given = {expected.graph.inputs[0].name: recording.frames}
        (a,), (b,) = (ReferenceSession(m).run(given) for m in (expected, found))
        np.testing.assert_array_equal(a, b)


def refused(net: Small, form: str) -> str:
    model = load_model(net.save(net.path))
    with pytest.raises(UserError) as error:
        find_exporter(form).write(model, net.folder / "out.onnx", Wanted())
    assert not (net.folder / "out.onnx").exists()
    assert error.value.hint
    return error.value.message


@pytest.mark.parametrize("form", RUNS)
def test_a_computed_scale_is_refused(form, tmp_path):
    net = Small(tmp_path)
    scale = net.op("ReduceMax", net.spikes(), keepdims=0)
    weights = net.constant(np.ones((D, D, 1, 1)))
    made = net.op("QuantUniform", weights, scale, domain=DIALECT, bits=4, name="w")
    net.end(net.lif(net.op("Conv", net.spikes(name="other"), made)))
    assert "node 'w' (ai.hqc::QuantUniform): its scale is no constant" in refused(net, form)


@pytest.mark.parametrize("form", RUNS)
def test_powers_of_two_of_an_activation_are_refused(form, tmp_path):
    net = Small(tmp_path)
    made = net.op("QuantPow2", net.spikes(), net.constant(1.0), domain=DIALECT, bits=4, name="q")
    net.end(net.lif(net.conv(made)))
    assert "node 'q' (ai.hqc::QuantPow2): it quantizes an activation to" in refused(net, form)


def test_codes_that_no_type_clips_are_refused(tmp_path):
    net = Small(tmp_path)
    net.end(net.lif(net.conv(net.view(net.input(bits=9), (2, 3, 4, 5)), (3, D))))
    assert "it quantizes an activation to codes from 0 to 511" in refused(net, "qdq")


@pytest.mark.parametrize("form", RUNS)
def test_a_lowered_model_is_refused(form, tmp_path):
    from hqc.compiler import lower, pipeline_for
    from hqc.targets import load_target

    net = Small(tmp_path)
    net.end(net.spikes())
    model = load_model(net.save(net.path))
    lowered = lower(model, pipeline_for(load_target("host"), None)).integer
    with pytest.raises(UserError, match="is an op on integers"):
        find_exporter(form).write(lowered, tmp_path / "out.onnx", Wanted())
