"""Pipelines: their text, their options, and the net that catches a wrong pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir
import pytest

from hqc.compiler import lower, pipeline_for
from hqc.copies import copy_model
from hqc.data.synthetic import sparse_frames
from hqc.errors import UserError, VerificationError
from hqc.frontend.load import load_model
from hqc.pass_verifier import PassVerifier
from hqc.passes import DEFAULT, PassDumper, parse_pipeline, run_passes
from hqc.passes.pass_base import Pass
from hqc.passes.plan_memory import Area, place
from hqc.reference import run_reference
from hqc.targets import load_target
from tests.conftest import MODEL


@pytest.fixture(scope="module")
def model():
    return load_model(MODEL)


def test_options_are_parsed():
    steps = parse_pipeline("fold-batch-norm, make-integer{mode=exact},choose-kernels{rate=3}")
    assert [s.name for s in steps] == ["fold-batch-norm", "make-integer", "choose-kernels"]
    assert steps[1].mode == "exact"
    assert steps[2].rate == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fold-batchnorm", "no pass 'fold-batchnorm'; did you mean 'fold-batch-norm'"),
        ("make-integer{mod=exact}", "has no option 'mod'"),
        ("make-integer{mode=fast}", "has no mode 'fast'"),
        ("make-integer{mode=3}", "option 'mode' is a word, not 3"),
        ("plan-memory{vector_bits=wide}", "option 'vector_bits' is a whole number, not 'wide'"),
        ("choose-kernels{kernel=table}", "has no kernel 'table'"),
        ("fold-batch-norm,,make-integer", "cannot read this at column 17"),
        ("make-integer{mode=}", "cannot read this at column 19"),
        ("", "cannot read this at column 1"),
    ],
)
def test_bad_pipelines_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        parse_pipeline(text)


@dataclass(frozen=True)
class Break(Pass):
    name: ClassVar[str] = "break"

    def run(self, model: ir.Model) -> ir.Model:
        bias = next(v for n, v in model.graph.initializers.items() if n.endswith("head.bias"))
        bias.const_value = ir.tensor(bias.const_value.numpy() + 1)
        return model


def test_verification_names_the_pass_that_changes_an_output(model):
    frames = sparse_frames(model.graph.inputs[0].shape.numpy(), 1)[0]
    verifier = PassVerifier(model, {"frames": frames})
    with pytest.raises(VerificationError, match="pass 'break' changes output 'logits'"):
        run_passes(copy_model(model), [Break()], [verifier])


def test_dumps_run_in_onnxruntime(model, tmp_path):
    steps = pipeline_for(load_target("host"))
    frames = sparse_frames(model.graph.inputs[0].shape.numpy(), 1)[0]
    stages = lower(copy_model(model), steps, dump=PassDumper("all", steps, tmp_path))
    files = sorted(tmp_path.iterdir())
    assert [f.name for f in files] == [f"{i:02}-{s.name}.onnx" for i, s in enumerate(steps, 1)]
    expected = run_reference(stages.integer, {"frames": frames})[0]
    for file in files[[s.name for s in steps].index("make-integer") :]:
        result = run_reference(ir.load(file), {"frames": frames})[0]
        np.testing.assert_array_equal(result, expected)


def test_dumping_after_an_unknown_pass_is_refused(tmp_path):
    with pytest.raises(UserError, match="no pass 'pack'"):
        PassDumper("pack", parse_pipeline("pack-spikes"), tmp_path)


@pytest.mark.parametrize("mode", ["exact", "guarded"])
def test_both_modes_lower_the_demo_and_agree_with_floats(model, mode, recordings):
    steps = parse_pipeline(f"fold-batch-norm,make-integer{{mode={mode}}}")
    lowered = run_passes(copy_model(model), steps)
    flags = [n.attributes["exact"].value for n in lowered.graph if n.op_type == "FixedPointLIF"]
    assert set(flags) == {int(mode == "exact")}
    for recording in recordings[::25]:
        feeds = {"frames": recording.frames}
        a, b = (run_reference(m, feeds)[0] for m in (model, lowered))
        assert a.argmax() == b.argmax()


def test_planes_everywhere_give_the_same_logits(model, recordings):
    text = (
        "fold-batch-norm,make-integer,fuse-attention,pack-spikes,"
        "choose-kernels{kernel=planes},plan-memory"
    )
    stages = lower(copy_model(model), parse_pipeline(text))
    convolutions = [n for n in stages.kernels.graph if n.op_type == "SpikeConv"]
    assert {n.attributes["kernel"].value for n in convolutions} == {"event", "planes"}
    for recording in recordings[::25]:
        feeds = {"frames": recording.frames}
        expected, logits = (run_reference(m, feeds)[0] for m in (stages.integer, stages.kernels))
        np.testing.assert_array_equal(logits, expected)
        assert len(np.unique(logits)) > 1


@pytest.mark.parametrize(
    ("rate", "expected"), [(2, {"event", "fields"}), (90, {"event", "planes"})]
)
def test_planes_are_chosen_where_spikes_are_many(model, rate, expected):
    text = DEFAULT.replace("choose-kernels", f"choose-kernels{{rate={rate}}}")
    lowered = run_passes(copy_model(model), parse_pipeline(text))
    kernels = {n.attributes["kernel"].value for n in lowered.graph if n.op_type == "SpikeConv"}
    assert kernels == expected


@pytest.mark.parametrize(
    ("target", "expected"), [("rv64gcv", "mask64"), ("arm-a72", "table"), ("rv64gc", "table")]
)
def test_lanes_of_a_mask_are_moved_together_where_an_instruction_does(model, target, expected):
    lowered = run_passes(copy_model(model), pipeline_for(load_target(target)))
    layers = [n for n in lowered.graph if n.op_type == "SpikeConv"]
    listings = (n.attributes.get("listing") for n in layers)
    assert {a.value if a else "table" for a in listings} == {expected}


@pytest.mark.parametrize(("share", "expected"), [(0.02, "sparse"), (0.9, "dense")])
def test_frames_that_are_mostly_0_are_skipped_through(model, rng, share, expected):
    shape = model.graph.inputs[0].shape.numpy()
    frames = (rng.random(shape) < share).astype(np.float32)
    stages = lower(copy_model(model), parse_pipeline(DEFAULT), calibration=[frames])
    (first,) = (n for n in stages.kernels.graph if n.op_type == "DenseConv")
    assert first.attributes["kernel"].value == expected


def test_areas_in_use_at_once_never_overlap(rng):
    for _ in range(50):
        areas = []
        for _ in range(rng.integers(1, 30)):
            first = int(rng.integers(0, 10))
            areas.append(Area(int(rng.integers(1, 500)), first, first + int(rng.integers(0, 5))))
        offsets, size = place(areas)
        for i, a in enumerate(areas):
            assert offsets[i] % 64 == 0
            assert offsets[i] + a.size <= size
            for j, b in enumerate(areas[:i]):
                if a.first <= b.last and b.first <= a.last:
                    assert offsets[i] + a.size <= offsets[j] or offsets[j] + b.size <= offsets[i]


def test_weights_that_are_folded_have_shapes_for_those_who_ask(model):
    made = run_passes(copy_model(model), parse_pipeline("fold-quantizers,canonicalize"))
    assert all(v.shape is not None for v in made.graph.initializers.values())


def test_canonicalize_leaves_what_unrolled_neurons_say_no_shapes_of(model):
    made = run_passes(copy_model(model), parse_pipeline("unroll-lif,canonicalize"))
    assert any(n.op_type == "Split" for n in made.graph)
