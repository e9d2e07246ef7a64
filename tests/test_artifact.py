"""Artifacts: the code that runs is that of the manifest, and arrays are what the code takes."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

import hqc
from hqc.compiler import lower, pipeline_for
from hqc.frontend.load import load_model
from hqc.reference import run_reference
from hqc.runtimes.python import host
from hqc.targets import load_target
from tests.conftest import ROOT

SHAPE = (2, 1, 1, 4, 4)


@pytest.fixture(scope="module")
def wide_model(tiny_model, tmp_path_factory):
    """The small network with 40 classes in place of 2."""
    proto = onnx.load(tiny_model)
    for tensor in proto.graph.initializer:
        if tensor.name.startswith("head_"):
            array = np.repeat(numpy_helper.to_array(tensor), 20, axis=0)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 40
    path = tmp_path_factory.mktemp("wide") / "wide.onnx"
    onnx.save(proto, path)
    return path


@pytest.fixture
def frames(rng):
    return rng.poisson(1.0, SHAPE).astype(np.float32)


@pytest.fixture(scope="module")
def compiled(tiny_model, tmp_path_factory):
    return hqc.compile(tiny_model, "host", tmp_path_factory.mktemp("tiny") / "build")


@pytest.fixture
def build(compiled, tmp_path):
    """An artifact that a test may spoil."""
    return hqc.Artifact.open(shutil.copytree(compiled.folder, tmp_path / "build"))


@pytest.fixture(scope="module")
def batch(compiled):
    """Seven recordings with logits of their own, so that their order shows."""
    rng = np.random.default_rng(0)
    rates = rng.uniform(0, 1, (200, 1, 1, 1, 1, 1))
    found = rng.poisson(rates, (200, *SHAPE)).astype(np.float32)
    _, first = np.unique([compiled.run(x) for x in found], axis=0, return_index=True)
    return found[np.sort(first)[:7]]


def integers(path, frames):
    stages = lower(load_model(path), pipeline_for(load_target("host")))
    return run_reference(stages.integer, {"frames": frames})[0]


def test_one_folder_compiled_twice_runs_the_second_model(build, wide_model, frames):
    first = build.run(frames)
    again = hqc.compile(wide_model, "host", build.folder, name=build.name)
    logits = again.run(frames)
    assert logits.shape == (1, 40)
    np.testing.assert_array_equal(logits, integers(wide_model, frames))
    # What was loaded before stays what it was; what was not is refused.
    np.testing.assert_array_equal(build.run(frames), first)
    with pytest.raises(hqc.UserError, match="was compiled anew after this artifact"):
        _ = build.model_file


def test_an_artifact_of_a_folder_that_was_compiled_anew_does_not_run(build, wide_model, frames):
    hqc.compile(wide_model, "host", build.folder, name=build.name)
    with pytest.raises(hqc.UserError, match="was compiled anew after this artifact") as error:
        build.run(frames)
    assert "hqc.Artifact.open" in error.value.hint
    assert hqc.Artifact.open(build.folder).run(frames).shape == (1, 40)


def test_two_artifacts_of_one_folder_have_arenas_of_their_own(build, frames):
    a, b = (hqc.Artifact.open(build.folder) for _ in range(2))
    np.testing.assert_array_equal(a.run(frames), b.run(frames))
    assert a.host_model is not b.host_model


@pytest.mark.parametrize("keep", [0, 100, 5000])
def test_a_library_that_is_cut_short_is_not_loaded(build, frames, keep):
    library = build.folder / f"{build.name}.so"
    library.write_bytes(library.read_bytes()[:keep])
    with pytest.raises(hqc.UserError, match=r"\.so is not as hqc wrote it"):
        hqc.Artifact.open(build.folder).run(frames)


def test_a_library_that_is_gone_is_missed(build, frames):
    (build.folder / f"{build.name}.so").unlink()
    with pytest.raises(hqc.UserError, match=r"cannot read .*\.so: No such file"):
        build.run(frames)


def test_a_manifest_that_was_changed_is_refused(build):
    manifest = build.folder / f"{build.name}.json"
    manifest.write_text(manifest.read_text().replace('"shape": [', '"shape": [ '))
    with pytest.raises(hqc.UserError, match=r"\.json is not as hqc wrote it"):
        hqc.Artifact.open(build.folder)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"model": 3}', '{"hqc": [], "model": {}}', "[" * 100_000, "\x00\xff"],
)
def test_a_marker_that_is_none_is_refused(build, content):
    (build.folder / "hqc.json").write_text(content)
    with pytest.raises(hqc.UserError, match=r"is not a compiled model|was compiled by hqc"):
        hqc.Artifact.open(build.folder)


def test_another_versions_artifact_is_refused(build):
    marker = json.loads((build.folder / "hqc.json").read_text())
    (build.folder / "hqc.json").write_text(json.dumps({**marker, "hqc": "99.1"}))
    with pytest.raises(hqc.UserError, match=r"was compiled by hqc 99\.1; this is hqc"):
        hqc.Artifact.open(build.folder)


def test_a_copy_of_an_artifact_runs(build, frames, tmp_path):
    expected = build.run(frames)
    copy = shutil.copytree(build.folder, tmp_path / "elsewhere")
    shutil.rmtree(build.folder)
    np.testing.assert_array_equal(hqc.Artifact.open(copy).run(frames), expected)


@pytest.mark.parametrize(
    "shape",
    [(4, 4, 1, 1, 2), (1, 2, 1, 4, 4), (2, 1, 4, 4), (32,), (1, 1, 1, 4, 4), (2, 1, 1, 4, 5), ()],
)
def test_arrays_of_another_shape_are_refused(build, shape):
    with pytest.raises(hqc.UserError) as error:
        build.run(np.zeros(shape, np.float32))
    assert error.value.message == f"frames {list(shape)} of float32 are not {list(SHAPE)} numbers"
    assert "[T, 1, C, H, W]" in error.value.hint


def test_views_of_other_memory_order_give_the_same_logits(build, frames):
    expected = build.run(frames)
    turned = np.ascontiguousarray(frames.transpose(4, 3, 2, 1, 0)).transpose(4, 3, 2, 1, 0)
    spread = np.repeat(frames, 3, axis=-1)[..., ::3]
    mirrored = frames[:, :, :, ::-1].copy()[:, :, :, ::-1]
    for view in (turned, spread, mirrored, np.asfortranarray(frames)):
        np.testing.assert_array_equal(view, frames)
        np.testing.assert_array_equal(build.run(view), expected)


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i8", ">i4", "f8", "f2", ">f4", "bool"])
def test_other_real_numbers_are_converted(build, frames, dtype):
    frames = np.minimum(frames, 1)
    np.testing.assert_array_equal(build.run(frames.astype(dtype)), build.run(frames))
    np.testing.assert_array_equal(build.run(frames.astype(dtype).tolist()), build.run(frames))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.full(SHAPE, np.nan), "not finite"),
        (np.full(SHAPE, np.inf, np.float32), "not finite"),
        (np.full(SHAPE, 1e300), "too large for float32"),
        (np.zeros(SHAPE, complex), "frames of complex128 are not real numbers"),
        (np.zeros(SHAPE, object), "frames of object are not real numbers"),
        (np.zeros(SHAPE, "U3"), "frames of <U3 are not real numbers"),
        (np.zeros(SHAPE, "M8[s]"), "are not real numbers"),
        ([[1, 2], [3]], "frames are not an array"),
        (None, "are not"),
    ],
)
def test_what_are_no_finite_numbers_is_refused(build, frames, message):
    with pytest.raises(hqc.UserError, match=message):
        build.run(frames)


@pytest.mark.parametrize("threads", [None, 1, 2, 5, 20])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_batch_gives_the_logits_of_each_recording(build, batch, threads, count):
    expected = np.concatenate([build.run(x) for x in batch[:count]])
    assert len(np.unique(expected, axis=0)) == count
    found = build.run_batch(batch[:count], threads)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_of_none_has_no_logits(build, threads):
    for none in ([], np.zeros((0, *SHAPE)), iter(())):
        found = build.run_batch(none, threads)
        assert (found.shape, found.dtype) == ((0, 2), np.float32)


def test_a_batch_may_be_spelled_in_other_ways(build, batch):
    expected = build.run_batch(batch)
    plain = batch[:, :, 0]  # [N, T, C, H, W]
    mixed = [x if i % 2 else x.astype(np.uint8).tolist() for i, x in enumerate(batch)]
    spread = np.repeat(plain, 2, axis=-1)[..., ::2]
    for same in (plain, spread, list(plain), tuple(batch), iter(plain), mixed, plain.astype("f8")):
        np.testing.assert_array_equal(build.run_batch(same, 2), expected)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_recording_that_is_wrong_is_named(build, batch, threads):
    """The first of them, whatever others are wrong and however many threads there are."""
    no_number = batch[0].copy()
    no_number[1, 0, 0, 2, 3] = np.nan
    short, objects = batch[0][1:], np.zeros(SHAPE, object)
    for wrong, message in (
        (short, r"recordings\[4\]: frames \[1, 1, 1, 4, 4\] of float32 are not \[2, 1, 1, 4, 4\]"),
        (no_number, r"recordings\[4\]: frames are not finite"),
        (objects, r"recordings\[4\]: frames of object are not real numbers"),
        ([[1], [2, 3]], r"recordings\[4\]: frames are not an array"),
    ):
        with pytest.raises(hqc.UserError, match=message):
            build.run_batch([*batch[:4], wrong, batch[5], short], threads)
    np.testing.assert_array_equal(build.run_batch(batch[:1], threads), build.run(batch[0]))


def test_one_recording_is_no_batch(build, frames):
    with pytest.raises(hqc.UserError, match=r"recordings\[0\]: frames \[1, 1, 4, 4\]") as error:
        build.run_batch(frames)
    assert "[T, 1, C, H, W]" in error.value.hint


@pytest.mark.parametrize("nothing", [None, 3, np.zeros(())])
def test_what_is_no_batch_is_refused(build, nothing):
    with pytest.raises(hqc.UserError, match="recordings are no array and no list: "):
        build.run_batch(nothing)


def test_no_threads_are_refused(build, batch):
    with pytest.raises(hqc.UserError, match="0 threads do no work"):
        build.run_batch(batch, 0)


def test_a_batch_makes_an_arena_a_thread_and_keeps_it(build, batch, monkeypatch):
    made = []
    build.run(batch[0])
    true = host._Instance
    monkeypatch.setattr(host, "_Instance", lambda size: made.append(size) or true(size))
    for _ in range(3):
        build.run_batch((x for x in np.repeat(batch, 20, axis=0)), 3)
    assert len(made) <= 2  # beside that of the run before
    assert set(made) <= {build.manifest["memory"]["arena_bytes"]}


@pytest.fixture(scope="module")
def long_runs(host_artifact, recordings):
    """Recordings whose runs last long enough for threads to meet, and their logits."""
    frames = [r.frames for r in recordings]
    return frames, np.concatenate([host_artifact.run(x) for x in frames])


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_share_no_arena(host_artifact, long_runs, threads):
    frames, expected = long_runs
    np.testing.assert_array_equal(host_artifact.run_batch(frames, threads), expected)


def test_threads_of_the_caller_may_run_one_artifact(host_artifact, long_runs):
    frames, expected = long_runs
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(host_artifact.run, frames))
        batches = list(pool.map(host_artifact.run_batch, [frames] * 3))
    np.testing.assert_array_equal(np.concatenate(found), expected)
    for logits in batches:
        np.testing.assert_array_equal(logits, expected)


def test_classes_of_every_step_stay_apart(batch, tmp_path):
    """A model whose logits are [T, 1, classes] gives [N, T, classes]."""
    text = (ROOT / "tests" / "passes" / "golden" / "00-dialect.txt").read_text()
    for old, new in (
        ("int64[2] all = {0, 2}", "int64[1] all = {2}"),
        ("float[1,2] logits", "float[2,1,2] logits"),
        (
            "logits = Gemm <transB = 1> (rate, head, head_b)",
            "turned = Transpose (head)\n  classes = MatMul(rate, turned)\n"
            "  logits = Add(classes, head_b)",
        ),
    ):
        assert old in text
        text = text.replace(old, new)
    onnx.save(onnx.parser.parse_model(text), tmp_path / "steps.onnx")
    artifact = hqc.compile(tmp_path / "steps.onnx", "host", tmp_path / "build")
    expected = np.stack([artifact.run(x) for x in batch])
    assert expected.shape == (7, 2, 1, 2)
    np.testing.assert_array_equal(artifact.run_batch(batch, 2), expected[:, :, 0])
