"""A torch module and the ONNX model exported from it are one network to the methods."""

from __future__ import annotations

import numpy as np
import pytest
from torch.nn.utils import parametrize

from hqc.compiler import lower, pipeline_for
from hqc.data.recordings import Recordings
from hqc.dialect import find_op
from hqc.frontend.export import export
from hqc.frontend.load import load_model
from hqc.frontend.save import save_model
from hqc.passes import parse_pipeline, run_passes
from hqc.post_training.method import find_method
from hqc.post_training.network import Layer, Network
from hqc.post_training.onnx_network import OnnxNetwork, classes_of, float_layers, spread
from hqc.post_training.rounding import range_scale
from hqc.post_training.search import Search
from hqc.post_training.space import uniform_space
from hqc.quantize import apply_recipe
from hqc.quantize.recipe import quantizable_layers
from hqc.reference import ReferenceSession
from hqc.search.method import Options
from hqc.search.post_training import TorchNetwork, Trial, kinds_of
from hqc.search.run_folder import RunFolder
from hqc.targets import load_target
from tests.networks import Network as Graph
from tests.search.places import network, places

CHOICES = ("16u", "8u", "4u", "2u")


class Given(Network):
    """A trial as it is, without training before and files after."""

    def __init__(self, trial, kinds):
        self.trial = trial
        self.layers = {n: Layer(n, kinds[n], w.numpy()) for n, w in trial.weights.items()}

    def drop(self, choices):
        return self.trial.drop(choices)

    def drift(self, choices):
        return self.trial.drift(choices)

    def finish(self, recipe, **found):
        raise AssertionError


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same weights twice; quantizers of 16 bits keep the exporter from folding BatchNorm."""
    folder = tmp_path_factory.mktemp("both")
    task, module = places(), network()
    run = RunFolder(folder / "run", {})
    TorchNetwork(module, task, Options(float_epochs=25, batch=8), run)
    apply_recipe(module.eval(), {"*": "16u"})
    frames, labels = task.train
    export(module, frames[0][:, None].float(), folder / "fine.onnx")
    for layer in quantizable_layers(module).values():
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    np.savez(folder / "places.npz", x=frames.numpy(), y=labels.numpy())
    return folder, module, task


@pytest.fixture
def torch_network(both):
    _, module, task = both
    data = task.train
    chosen = spread(len(data[1]), 20)
    trial = Trial(module, data, data[0][chosen].float().transpose(0, 1))
    return Given(trial, kinds_of(module))


@pytest.fixture
def onnx_network(both):
    return made(both[0])


def made(folder, *, per_channel=False):
    model = load_model(folder / "fine.onnx")
    model = run_passes(model, parse_pipeline("fold-quantizers,fold-constants"))
    shape = model.graph.inputs[0].shape.numpy()
    recordings = Recordings(folder / "places.npz", shape, None)
    return OnnxNetwork(
        model,
        recordings,
        truth=np.array(recordings.labels),
        float_classes=classes_of(model, recordings),
        measured=range(len(recordings)),
        watched=spread(len(recordings), 20),
        per_channel=per_channel,
    )


def test_layers_and_their_kinds_are_the_same(torch_network, onnx_network):
    assert list(torch_network.layers) == list(onnx_network.layers)
    for ours, theirs in zip(
        onnx_network.layers.values(), torch_network.layers.values(), strict=True
    ):
        assert ours.kind == theirs.kind
        # Gemm reads the transpose of what a module holds, where the exporter says so.
        assert ours.weights.shape in (theirs.weights.shape, theirs.weights.shape[::-1])
        np.testing.assert_array_equal(
            np.sort(ours.weights.ravel()), np.sort(theirs.weights.ravel())
        )


def test_drops_and_drifts_are_the_same(torch_network, onnx_network):
    names = list(onnx_network.layers)
    candidates = [dict.fromkeys(names, c) for c in ("8u", "4u", "3u", "2u")]
    candidates += [{name: "2u"} for name in names]
    drops = list(onnx_network.drops(candidates))
    assert drops == pytest.approx(list(torch_network.drops(candidates)), abs=1e-7)
    assert max(drops) > 0.1
    drifts = list(onnx_network.drifts(candidates))
    assert drifts == pytest.approx(list(torch_network.drifts(candidates)), rel=0.01)
    assert onnx_network.drop({}) == onnx_network.drift({}) == 0
    assert onnx_network.bits(candidates[0]) == torch_network.bits(candidates[0])


@pytest.mark.parametrize("name", ["uniform", "qsvit", "greedy", "beam"])
def test_methods_find_the_same(name, torch_network, onnx_network):
    method = find_method(name)
    found = []
    for one in (torch_network, onnx_network):
        space = uniform_space(one.layers, CHOICES, {"head": "8u"})
        found.append(method.choose(Search(one, space, tolerance=0.05, beam=2)))
    assert found[0].recipe == found[1].recipe
    if name != "uniform":
        assert len(set(found[0].recipe.values())) > 1


def test_what_is_measured_is_what_is_written(both):
    one = made(both[0], per_channel=True)
    names = list(one.layers)
    recipe = {n: ("2u", "3u", "4u")[i % 3] for i, n in enumerate(names)}
    lost = one.drop(recipe)
    assert lost != 0
    truth, before = one._truth, classes_of(one.model, one._recordings)
    one.finish(recipe)
    after = classes_of(one.model, one._recordings)
    assert lost == pytest.approx((before == truth).mean() - (after == truth).mean(), abs=1e-7)
    quantizers = {n.name: n for n in one.model.graph if n.op_type == "QuantUniform"}
    for name, choice in recipe.items():
        node = quantizers[f"{name}/QuantUniform"]
        assert f"{node.attributes['bits'].value}u" == choice
        weights, scale = (v.const_value.numpy() for v in node.inputs)
        attributes = find_op(node).attributes(node)
        assert scale.shape == (weights.shape[attributes["axis"]],)
        np.testing.assert_array_equal(
            find_op(node).reference(weights, scale, **attributes), weights
        )
    assert not float_layers(one.model)


def test_a_scale_for_each_channel_is_that_of_its_range():
    weights = np.array([[1.0, -2.0, 0.5], [0.25, 0.0, -0.125]], np.float32)
    assert range_scale(weights, 4).tolist() == np.float32(4 / 15)
    np.testing.assert_array_equal(range_scale(weights, 4, 0), np.float32([4 / 15, 0.5 / 15]))
    np.testing.assert_array_equal(range_scale(weights, 4, 1), np.float32([2 / 15, 4 / 15, 1 / 15]))


@pytest.fixture
def spellings(tmp_path, rng):
    """A Conv, a MatMul from either side, a Gemm of columns; and a layer that has its quantizer."""
    net = Graph((2, 1, 3, 4, 4), classes=2)

    def weights(*shape):
        return net.constant(rng.normal(size=shape))

    x = net.lif(net.op("Conv", net.input(), weights(6, 3, 1, 1), kernel_shape=[1, 1], name="conv"))
    codes = net.quantized(rng.normal(size=(6, 6, 1, 1)), 4)
    x = net.lif(net.op("Conv", x, codes, kernel_shape=[1, 1], name="quantized"))
    x = net.lif(net.op("MatMul", weights(5, 6), net.view(x, (2, 6, 16)), name="left"))
    x = net.op("Transpose", x, perm=[0, 2, 1])
    x = net.lif(net.op("MatMul", x, weights(5, 7), name="right/MatMul"))
    x = net.view(net.mean(x, [0, 1]), (1, 7))
    net.op("Gemm", x, weights(7, 2), name="head", out="logits")
    return net.save(tmp_path / "net.onnx")


def test_each_spelling_has_scales_along_its_outputs(spellings, tmp_path, rng):
    np.savez(tmp_path / "x.npz", x=rng.poisson(1.0, (10, 2, 3, 4, 4)).astype(np.uint8))
    model = load_model(spellings)
    recordings = Recordings(tmp_path / "x.npz", (2, 1, 3, 4, 4), None)
    classes = classes_of(model, recordings)
    one = OnnxNetwork(
        model, recordings, truth=classes, float_classes=classes,
        measured=range(10), watched=range(10), per_channel=True,
    )  # fmt: skip
    assert list(one.layers) == ["conv", "left", "right", "head"]
    one.finish(dict.fromkeys(one.layers, "4u"))
    scales = {
        n.name: (len(n.inputs[1].const_value.numpy()), n.attributes["axis"].value)
        for n in model.graph
        if n.name.removesuffix("/QuantUniform") in one.layers and n.op_type == "QuantUniform"
    }
    assert scales == {
        "conv/QuantUniform": (6, 0), "left/QuantUniform": (5, 0),
        "right/QuantUniform": (7, 1), "head/QuantUniform": (2, 1),
    }  # fmt: skip
    save_model(model, tmp_path / "quantized.onnx")
    stages = lower(load_model(tmp_path / "quantized.onnx"), pipeline_for(load_target("host")))
    frames = recordings[0].frames
    expected, found = (
        ReferenceSession(m).run({m.graph.inputs[0].name: frames})[0].reshape(-1)
        for m in (stages.dialect, stages.kernels)
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_sum_of_past_steps_is_no_layer(tmp_path, rng):
    """Currents that decay: how much each step takes of those before is not rounded."""
    net = Graph((3, 1, 2, 4, 4), classes=2)
    x = net.op("Conv", net.input(), net.constant(rng.normal(size=(5, 2, 1, 1))), name="conv")
    past = net.constant(np.tril(0.5 ** np.subtract.outer(np.arange(3), np.arange(3))))
    x = net.op("MatMul", past, net.view(x, (3, 80)), name="current")
    x = net.lif(net.view(x, (3, 5, 4, 4)))
    net.op("Gemm", net.view(net.mean(x, [0, 2, 3]), (1, 5)), net.constant(rng.normal(size=(5, 2))),
           name="head", out="logits")  # fmt: skip
    model = load_model(net.save(tmp_path / "net.onnx"))
    assert list(float_layers(model)) == ["conv", "head"]
