"""Which importer reads a file, and models of one time step that are run over time."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from hqc.data.recordings import Preprocessing
from hqc.dialect import DIALECT
from hqc.errors import UserError
from hqc.frontend.save import save_model
from hqc.importers import Asked, find_importer
from hqc.importers.imported import import_file, needs_quantizer

T, C, H, W = 6, 2, 5, 7

STEP = """
<ir_version: 9, opset_import: ["" : {opset}]>
step (float[1,2,5,7] frame, float[1,3,5,7] v, float[1,3] w)
  => (float[1,4] y, float[1,3,5,7] v_next, float[1,3] w_next)
<float[3,2,1,1] conv = {{1, -0.5, 0.5, 1, -1, 1}}, float[3,4] fc = {{1,2,3,4,-1,0,1,2,2,2,-2,1}},
 float one = {{1}}, float half = {{0.5}}>
{{
  x = Conv (frame, conv)
  kept = Mul (v, half)
  h = Add (kept, x)
  fires = GreaterOrEqual (h, one)
  s = Cast <to = 1> (fires)
  taken = Mul (s, one)
  v_next = Sub (h, taken)
  rates4 = GlobalAveragePool (s)
  rates = Flatten (rates4)
  sum = Add (w, rates)
  fires_too = Greater (sum, half)
  s_too = Cast <to = 1> (fires_too)
  silent = Sub (one, s_too)
  w_next = Mul (sum, silent)
  y = MatMul (s_too, fc)
}}
"""


@pytest.fixture(params=[17, 18])
def step(request, tmp_path):
    path = tmp_path / "step.onnx"
    path.write_bytes(onnx.parser.parse_model(STEP.format(opset=request.param)).SerializeToString())
    return path


@pytest.fixture
def frames():
    return np.random.default_rng(5).uniform(0, 2, (T, 1, C, H, W)).astype(np.float32)


def imported(path, **how):
    importer = find_importer(path)
    return import_file(importer, path, Asked(how.pop("time_steps", None)), **how)


def test_a_step_runs_over_time(step, frames, tmp_path):
    model = imported(step, time_steps=T, input_scale=1 / 64)
    assert not needs_quantizer(model)
    assert [n.op_type for n in model.graph if n.domain == DIALECT] == ["QuantUniform", "LIF", "LIF"]
    save_model(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(step)
    v, w = np.zeros((1, 3, H, W), np.float32), np.zeros((1, 3), np.float32)
    rounded, total = np.round(frames * 64) / 64, 0
    for frame in rounded.astype(np.float32):
        y, v, w = session.run(None, {"frame": frame, "v": v, "w": w})
        total = total + y / T
    whole = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (found,) = whole.run(None, {whole.get_inputs()[0].name: frames})
    np.testing.assert_allclose(found, total, atol=1e-5)
    assert np.ptp(total) > 0.1


def changed(step, edit):
    proto = onnx.load(step)
    edit(proto.graph)
    step.write_bytes(proto.SerializeToString())


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (lambda g: g.output.pop(), "2 inputs behind the frame, 1 outputs behind the logits"),
        (lambda g: g.output.append(g.output.pop(1)), "state 'v' has shape [1, 3, 5, 7], and"),
        (
            lambda g: g.input[1].type.tensor_type.shape.dim[0].Clear(),
            "'v' has no static shape",
        ),
    ],
    ids=["a state is lost", "in another order", "of no size"],
)
def test_a_step_whose_states_do_not_fit_is_refused(edit, why, step):
    changed(step, edit)
    with pytest.raises(UserError) as caught:
        imported(step, time_steps=T)
    assert why in caught.value.message
    assert str(step) in caught.value.message


def test_a_model_of_all_steps_has_its_own(tiny_model):
    with pytest.raises(UserError, match="this one has a single input"):
        imported(tiny_model, time_steps=T)


def test_frames_say_what_files_they_are_of(step):
    model = imported(step, time_steps=T, preprocessing=Preprocessing("events"))
    assert '"time_steps": 6' in model.metadata_props["hqc.preprocessing"]
    assert needs_quantizer(model)
    with pytest.raises(UserError, match="takes 2 channels, and images have 3"):
        imported(step, time_steps=T, preprocessing=Preprocessing("image"))


@pytest.mark.parametrize(
    ("name", "format_", "why", "hint"),
    [
        ("weights.pt", None, "is a checkpoint", "--checkpoint weights.pt"),
        ("network.tflite", None, "is of no format that hqc knows", "--from: nir, onnx"),
        ("network.dat", "nri", "did you mean 'nir'?", "formats are: nir, onnx"),
    ],
)
def test_a_file_of_another_kind_is_refused(name, format_, why, hint, tmp_path):
    with pytest.raises(UserError) as caught:
        find_importer(tmp_path / name, format_)
    assert why in caught.value.message
    assert hint in caught.value.hint


def test_what_says_nothing_of_a_format_is_refused(tiny_model):
    with pytest.raises(UserError, match="--dt says nothing of an ONNX model"):
        import_file(find_importer(tiny_model), tiny_model, Asked(dt=1e-3))
