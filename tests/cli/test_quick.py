"""What needs no compilation answers without the packages that take seconds to load."""

from __future__ import annotations

import json
import subprocess
import sys

import onnx
import pytest

from tests.conftest import MODEL

HEAVY = ("matplotlib", "onnxruntime", "plotly", "torch", "tvm")
PROGRAM = f"""
import json, sys
from hqc.cli import main
try:
    main()
finally:
    print(json.dumps([m for m in {HEAVY} if m in sys.modules]), file=sys.stderr)
"""


def loaded(arguments, folder):
    """Exit code, stderr, and the heavy packages that a command has loaded."""
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    *said, modules = done.stderr.splitlines()
    return done.returncode, "\n".join(said), json.loads(modules)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"], ["--version"], ["compile", "--help"], ["package", "--help"],
        ["search", "--help"], ["passes"], ["targets"], ["targets", "show", "arm-a72"],
        ["targets", "schema"], ["doctor"], ["completion", "bash"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_answers(arguments, tmp_path):
    assert loaded(arguments, tmp_path) == (0, "", [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compil"], "No such command"),
        (["compile", MODEL, "--option"], "No such option"),
        (["compile", "none.onnx"], "cannot read none.onnx: No such file"),
        (["compile", "/dev/zero"], "it is a device, not a file"),
        (["compile", MODEL, "--target", "arm"], "there is no target 'arm'"),
        (["compile", MODEL, "--name", "int"], "--name int_net"),
        (["compile", MODEL, "--passes", "fold-batch"], "did you mean 'fold-batch-norm'?"),
        (["compile", MODEL, "--passes", "fold-batch-norm"], "does not end in plan-memory"),
        (["compile", MODEL, "--bind", "batch=1"], "no dimension 'batch'"),
        (["compile", MODEL, "-o", "."], "cannot be the current directory"),
        (["compile", "refused.onnx"], "no integer lowering for LpPool"),
        (["verify", "none.onnx"], "cannot read none.onnx: No such file"),
        (["verify", "refused.onnx"], "no integer lowering for LpPool"),
        (["verify", MODEL, "--data", "none"], "there is no none"),
        (["run", "none.onnx", "x.bin"], "cannot read none.onnx: No such file"),
        (["run", "none", "x.bin"], "none is not a compiled model"),
        (["energy", "none.onnx"], "cannot read none.onnx: No such file"),
        (["energy", MODEL, "--profile", "no"], "there is no energy profile 'no'"),
        (["energy", MODEL, "--data", "none"], "there is no none"),
        (["profile", "none"], "none is not a compiled model"),
        (["package", "none", "--as", "rust"], "none is not a compiled model"),
        (["package", "none", "--as", "rus"], "did you mean 'rust'?"),
        (["report", "none"], "none is not a compiled model"),
        (["compare", "none"], "none is not the folder of a finished search"),
        (["export", "none"], "none is not the folder of a finished search"),
        (["targets", "show", "none"], "there is no target or energy profile 'none'"),
    ],
    ids=lambda part: " ".join(map(str, part)) if isinstance(part, list) else "",
)
def test_refusals(arguments, message, tmp_path):
    proto = onnx.load(MODEL)
    pool = next(n for n in proto.graph.node if n.op_type == "MaxPool")
    kept = [a for a in pool.attribute if a.name in ("kernel_shape", "strides", "pads")]
    pool.op_type = "LpPool"
    del pool.attribute[:]
    pool.attribute.extend(kept)
    onnx.save(proto, tmp_path / "refused.onnx")
    code, said, modules = loaded(arguments, tmp_path)
    assert code == 2
    assert message in said
    assert modules == []


def test_a_model_is_packed_without_tvm(tmp_path):
    program = (
        "import sys\n"
        "from hqc.frontend.load import load_model\n"
        "from hqc.compiler import lower, pipeline_for\n"
        "from hqc.passes import DEFAULT\n"
        "from hqc.targets import load_target\n"
        "steps = pipeline_for(load_target('host'), DEFAULT.partition(',choose')[0])\n"
        f"lower(load_model({str(MODEL)!r}), steps)\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "['onnxruntime']\n"  # which says whether the model runs at all
