"""Exported models equal torch: same classes, and spikes that differ only at float ties."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from hqc.data.recordings import preprocessing_of
from hqc.frontend.export import export
from hqc.frontend.load import load_model
from hqc.models.lif import LIF
from hqc.models.spikformer import Spikformer
from hqc.quantize import apply_recipe
from hqc.quantize.recipe import quantizable_layers
from hqc.reference import ReferenceSession, run_reference
from tests.conftest import MODEL
from tests.exact_numbers import with_exact_numbers

TIE = 1e-5


@pytest.fixture(scope="module")
def trained():
    """The demo's torch model, with the weights that its ONNX file holds under torch's names."""
    import json

    recipe = json.loads(MODEL.with_name("recipe.json").read_text())
    model = apply_recipe(Spikformer(), recipe).eval()
    initializers = load_model(MODEL).graph.initializers
    weights = {k: torch.tensor(v.const_value.numpy()) for k, v in initializers.items()}
    state = {k: weights.get(k, v) for k, v in model.state_dict().items()}
    counters = {k for k in state if k.endswith("num_batches_tracked")}
    assert set(state) - set(weights) == counters
    model.load_state_dict(state)
    return model


def test_equals_torch_on_every_recording(trained, recordings):
    neurons = {name: m for name, m in trained.named_modules() if isinstance(m, LIF)}
    torch_spikes, drives = {}, {}

    def watch(name):
        def hook(module, inputs, output):
            drives[name], torch_spikes[name] = inputs[0], output

        return hook

    for name, module in neurons.items():
        module.register_forward_hook(watch(name))
    model = load_model(MODEL)
    values = {n.name: n.outputs[0].name for n in model.graph if n.op_type == "LIF"}
    assert set(values) == set(neurons)
    session = ReferenceSession(model, [values[name] for name in neurons])
    differing = total = 0
    for recording in recordings:
        with torch.no_grad():
            logits = trained(torch.tensor(recording.frames)).numpy()
        result, *spikes = session.run({"frames": recording.frames})
        assert result.argmax() == logits.argmax(), recording.name
        first_difference = True
        for name, ours in zip(neurons, spikes, strict=True):
            theirs = torch_spikes[name].numpy()
            total += ours.size
            where = np.argwhere(ours != theirs)
            differing += len(where)
            if len(where) and first_difference:
                first_difference = False
                t, *position = where[0]
                potential = potential_at(drives[name][(slice(None), *position)], t)
                assert abs(potential - neurons[name].v_threshold) < TIE, (recording.name, name)
    print(f"{differing} of {total} spikes differ between torch and onnxruntime")
    assert differing < total * 1e-4


def potential_at(x: torch.Tensor, step: int) -> float:
    """The membrane potential that decided the spike at `step`, for the model's neurons."""
    v = 0.0
    for t in range(step + 1):
        v += (float(x[t]) - v) / 2
        if t < step and v >= 1.0:
            v = 0.0
    return v


def test_a_new_model_exports_checks_and_runs(tmp_path):
    torch.manual_seed(0)
    shape = {"in_channels": 3, "classes": 4, "dim": 32, "depth": 2, "heads": 2}
    model = Spikformer(**shape)
    model.train()
    frames = 3 * torch.rand(3, 2, 3, 16, 16)
    for _ in range(3):
        model(frames)
    with_exact_numbers(model)
    example = frames[:, :1]
    events = {"kind": "events", "time_steps": 3, "height": 16, "width": 16}
    path = tmp_path / "new.onnx"
    export(model, example, path, name="new", preprocessing=events)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    loaded = load_model(path)
    assert preprocessing_of(loaded.metadata_props) == events
    assert loaded.graph.name == "new"
    assert model.training
    with torch.no_grad():
        expected = model.eval()(example).numpy()
    result = run_reference(loaded, {"frames": example.numpy()})[0]
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert [p.name for p in tmp_path.iterdir()] == ["new.onnx"]


def test_weights_are_written_as_their_quantizers_round_them(tmp_path):
    model = apply_recipe(Spikformer(dim=16, heads=2), {"head": "4l", "*": "2u"}).eval()
    path = tmp_path / "rounded.onnx"
    export(model, torch.zeros(2, 1, 2, 16, 16), path)
    initializers = load_model(path).graph.initializers
    written = {k: v.const_value.numpy() for k, v in initializers.items()}
    for name, layer in quantizable_layers(model).items():
        weight = written[f"{name}.parametrizations.weight.original"]
        np.testing.assert_array_equal(weight, layer.weight.detach().numpy(), name)
        assert np.any(weight != layer.parametrizations.weight.original.detach().numpy()), name
