"""What every pass makes of one small network, as text to be read and reviewed.

The files in `golden` are numbered in the order of the pipeline; each is the model after its pass.
Write them anew, and look at the difference, with

    python -m pytest tests/passes/test_golden.py --regenerate-golden
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from hqc.copies import copy_model
from hqc.frontend.load import load_model
from hqc.pass_verifier import PassVerifier
from hqc.passes import DEFAULT, parse_pipeline, passes
from hqc.passes.pipeline import run_passes
from hqc.reference import run_reference

GOLDEN = Path(__file__).parent / "golden"
LOWERING = parse_pipeline(DEFAULT)
OTHERS = parse_pipeline("fold-quantizers,fold-batch-norm,unroll-lif")


@pytest.fixture(scope="module")
def dialect(tiny_model):
    return load_model(tiny_model)


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(1).poisson(1.0, (2, 1, 1, 4, 4)).astype(np.float32)


def as_text(model: ir.Model) -> str:
    """The main graph in ONNX's text form, then the notes that passes left on its values."""
    proto = ir.serde.serialize_model(model)
    del proto.functions[:]
    del proto.graph.value_info[:]
    notes = []
    for node in model.graph:
        for holder in (node, *node.outputs):
            for key, note in sorted(holder.metadata_props.items()):
                notes.append(f"# {holder.name} {key} = {note}")
        for holder in [node, *node.outputs]:
            holder.metadata_props.clear()
    for node in proto.graph.node:
        del node.metadata_props[:]
    return onnx.printer.to_text(proto) + "\n" + "\n".join(sorted(set(notes))) + "\n"


@pytest.mark.parametrize(
    ("before", "step", "file"),
    [(LOWERING[:i], step, f"{i + 1:02}-{step.name}.txt") for i, step in enumerate(LOWERING)]
    + [((), step, f"{step.name}.txt") for step in OTHERS],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_pass_makes_the_golden_model(before, step, file, dialect, frames, request):
    model = run_passes(copy_model(dialect), before)
    after = run_passes(model, [step], [PassVerifier(copy_model(model), {"frames": frames})])
    text = as_text(after)
    if request.config.getoption("--regenerate-golden"):
        (GOLDEN / file).write_text(text)
    assert text == (GOLDEN / file).read_text()


def test_every_pass_has_a_golden_file():
    assert set(passes()) == {s.name for s in (*LOWERING, *OTHERS)}


def test_the_small_network_fires(dialect, frames):
    watched = [n.outputs[0].name for n in dialect.graph if n.op_type == "LIF"]
    for spikes in run_reference(dialect, {"frames": frames}, watched)[1:]:
        assert 0 < spikes.mean() < 1
