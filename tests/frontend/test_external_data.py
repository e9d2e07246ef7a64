"""Models whose weights are in a file beside them: written, read and run as those in one file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from hqc import copies
from hqc.atomic_files import placing
from hqc.compiler import lower, pipeline_for
from hqc.copies import copy_model
from hqc.errors import UserError
from hqc.frontend import tensors
from hqc.frontend.load import load_model
from hqc.frontend.save import save_model
from hqc.reference import run_reference
from hqc.targets import load_target
from tests.conftest import MODEL


@pytest.fixture
def outside(monkeypatch):
    """Every weight counts as large: it stays in its file, and is not copied with its model."""
    monkeypatch.setattr(tensors, "IN_MEMORY", 0)
    monkeypatch.setattr(tensors, "_SMALL", 256)
    monkeypatch.setattr(copies, "_LARGE", 256)


@pytest.fixture
def frames(rng):
    shape = load_model(MODEL).graph.inputs[0].shape.numpy()
    return rng.integers(0, 4, shape).astype(np.float32)


def logits(model, frames):
    return run_reference(model, {model.graph.inputs[0].name: frames})[0]


def test_a_large_model_is_two_files(tmp_path, frames):
    model = load_model(MODEL)
    save_model(model, tmp_path / "m.onnx", largest_whole=0)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    proto = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    places = {
        e.value for i in proto.graph.initializer for e in i.external_data if e.key == "location"
    }
    assert places == {"m.onnx.data"}
    onnx.checker.check_model(str(tmp_path / "m.onnx"), full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        tmp_path / "m.onnx", options, providers=["CPUExecutionProvider"]
    )
    result = session.run(None, {model.graph.inputs[0].name: frames})[0]
    np.testing.assert_array_equal(result, logits(model, frames))
    np.testing.assert_array_equal(logits(load_model(tmp_path / "m.onnx"), frames), result)


def floats_outside(folder):
    """The model with its floats in a file, as exporters write it."""
    ir.save(load_model(MODEL), folder / "m.onnx", external_data="m.onnx.data")
    return folder / "m.onnx"


def test_weights_that_stay_in_their_file_are_the_same_network(tmp_path, frames, outside):
    path = floats_outside(tmp_path)
    model = load_model(path)
    held = [
        v for v in model.graph.initializers.values() if isinstance(v.const_value, ir.ExternalTensor)
    ]
    assert held
    expected = load_model(MODEL)
    np.testing.assert_array_equal(logits(model, frames), logits(expected, frames))
    copied = copy_model(model)
    for value in held:
        assert copied.graph.initializers[value.name].const_value is value.const_value
    ours, theirs = (lower(m, pipeline_for(load_target("host"))).kernels for m in (model, expected))
    assert ours.graph.initializers.keys() == theirs.graph.initializers.keys()
    for name, value in theirs.graph.initializers.items():
        other = ours.graph.initializers[name].const_value.numpy()
        np.testing.assert_array_equal(other, value.const_value.numpy(), name)


def test_data_that_stays_in_its_file_must_fill_its_shape(tmp_path, outside):
    path = floats_outside(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    tensor = next(i for i in proto.graph.initializer if i.external_data)
    entry = next(e for e in tensor.external_data if e.key == "length")
    entry.value = str(int(entry.value) - 4)
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(UserError, match=f"'{tensor.name}' does not hold the numbers of its shape"):
        load_model(path)


def test_both_files_are_replaced_or_neither(tmp_path, monkeypatch):
    made = tmp_path / "made"
    made.mkdir()
    for name in ("data", "model"):
        (tmp_path / name).write_text("old")
        (made / name).write_text("new")
    replace = Path.replace

    def failing(self, target):
        if self == made / "model":
            raise OSError("no")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="no"):
        placing([made / "data", made / "model"], tmp_path)
    assert [(tmp_path / n).read_text() for n in ("data", "model")] == ["old", "old"]
    monkeypatch.undo()
    (made / "data").write_text("new")
    placing([made / "data", made / "model"], tmp_path)
    assert [(tmp_path / n).read_text() for n in ("data", "model")] == ["new", "new"]


def test_what_fails_leaves_nothing(tmp_path, monkeypatch):
    model = load_model(MODEL)
    monkeypatch.setattr(onnx.checker, "check_model", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_model(model, tmp_path / "m.onnx", largest_whole=0)
    assert list(tmp_path.iterdir()) == []
