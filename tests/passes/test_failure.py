"""A pass that fails says which it is, where it was, and with what to report it."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir
import pytest

from hqc.codegen.library import Library
from hqc.compiler import copy_model, lower, pipeline_for
from hqc.errors import NotRunnableError, OwnError, UserError
from hqc.frontend.load import load_model
from hqc.passes import parse_pipeline, run_passes
from hqc.passes.pass_base import Pass
from hqc.reference import run_reference
from hqc.targets import load_target


@dataclass(frozen=True)
class Stumble(Pass):
    name: ClassVar[str] = "stumble"
    depth: int = 3

    def run(self, model: ir.Model) -> ir.Model:
        for node in model.graph:
            if node.op_type == "MaxPool":
                model.graph.name = "spoiled"
                self._inside(node)
        return model

    def _inside(self, node: ir.Node) -> None:
        np.zeros(2).reshape(self.depth)


@dataclass(frozen=True)
class Spoil(Pass):
    """Makes a model that onnxruntime does not run."""

    name: ClassVar[str] = "spoil"

    def run(self, model: ir.Model) -> ir.Model:
        next(n for n in model.graph if n.op_type == "Conv").attributes["group"] = ir.AttrInt64(
            "group", 7
        )
        return model


@pytest.fixture
def model(tiny_model):
    return load_model(tiny_model)


@pytest.fixture
def reports(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_pass_and_node_are_named_and_the_model_is_written(model, reports):
    steps = [*parse_pipeline("fold-batch-norm,choose-kernels{rate=3}"), Stumble()]
    frames = np.ones((2, 1, 1, 4, 4), np.float32)
    expected = run_reference(model, {"frames": frames})[0]
    with pytest.raises(OwnError) as error:
        run_passes(copy_model(model), steps)
    assert error.value.message.startswith(
        "pass 'stumble' failed at node 'pooled' (MaxPool): ValueError: cannot reshape"
    )
    assert isinstance(error.value.__cause__, ValueError)
    (written,) = reports.iterdir()
    assert str(written) in error.value.hint
    pipeline = re.search(r'--passes "(.*)"', error.value.hint)[1]
    assert pipeline.endswith(",stumble{depth=3}")
    assert parse_pipeline(pipeline.removesuffix(",stumble{depth=3}")) == steps[:-1]
    # It is the model that the pipeline was given, not what the pass left of it.
    again = load_model(written)
    assert again.graph.name == "tiny"
    np.testing.assert_array_equal(run_reference(again, {"frames": frames})[0], expected)


def test_a_pass_that_makes_a_model_that_does_not_run_is_at_fault(model, reports):
    steps = [Spoil()]
    with pytest.raises(OwnError, match=r"pass 'spoil' failed.*onnxruntime does not run"):
        lower(model, steps, verify_each=True)
    assert len(list(reports.iterdir())) == 1


def test_what_a_pass_refuses_is_refused(model, reports):
    with pytest.raises(UserError, match="nothing says what its output can reach"):
        run_passes(model, parse_pipeline("pack-spikes"))
    assert list(reports.iterdir()) == []


def test_a_model_that_onnxruntime_does_not_run_is_the_users(model):
    Spoil().run(model)
    with pytest.raises(NotRunnableError, match="does not run the model 'tiny'") as error:
        run_reference(model, {"frames": np.ones((2, 1, 1, 4, 4), np.float32)})
    assert isinstance(error.value, UserError)


def test_a_kernel_that_fails_is_named(model):
    target = load_target("host")
    kernels = lower(model, pipeline_for(target)).kernels
    node = next(n for n in kernels.graph if n.op_type == "PackedPool")
    node.attributes["strides"] = ir.AttrInt64s("strides", [0])
    with pytest.raises(OwnError, match=rf"the kernel of node '{node.name}' \(PackedPool\) failed"):
        Library.of(kernels, "tiny", target)


@pytest.mark.parametrize(
    ("llvm", "message"),
    [
        ('triple "frob-unknown", cpu "generic"', "no kernels for the triple 'frob-unknown'"),
        ('triple "aarch64_be-linux-gnu", cpu "generic"', "no kernels for the triple 'aarch64_be"),
        ('triple "thumbv99-none-eabi", cpu "generic"', "no kernels for the triple 'thumbv99"),
        ('triple "riscv64-linux-gnu", cpu "generic-rv64", abi "lp"', "for the abi 'lp'"),
        ('triple "aarch64-linux-gnu", cpu "cortex-a722"', "did you mean 'cortex-a72"),
        ('triple "aarch64-linux-gnu", cpu "generic", features "+noen"', "no feature '+noen'"),
        ('triple "aarch64-linux-gnu", cpu "generic", features ""', "no feature ''"),
    ],
)
def test_what_llvm_does_not_know_is_refused(llvm, message, tiny_model, run_hqc, tmp_path):
    (tmp_path / "x.hqt").write_text(
        f'target x {{\n  llvm {llvm}\n  compiler "aarch64-linux-musl"\n}}\n'
    )
    done = run_hqc("compile", tiny_model, "--target", "x.hqt")
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert done.stderr.count("hqc: error:") == 1
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        ("KeyError('shape')", 1, "pass 'fold-padding' failed: KeyError: 'shape'"),
        ("MemoryError()", 2, "out of memory"),
    ],
)
def test_the_command_line_says_one_message(raised, code, message, tiny_model, tmp_path):
    program = (
        "import sys\n"
        "from hqc.passes.fold_padding import FoldPadding\n"
        f"def run(self, model): raise {raised}\n"
        "FoldPadding.run = run\n"
        f"sys.argv = ['hqc', 'compile', {str(tiny_model)!r}]\n"
        "from hqc.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == code
    assert done.stderr.startswith(f"hqc: error: {message}")
    assert done.stderr.count("\n") == 2
    assert not (tmp_path / "build").exists()


def test_what_is_not_installed_is_said(tmp_path):
    program = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "sys.argv = ['hqc', 'search', '--model', 'm.py:f', '--data', 'nmnist:.']\n"
        "from hqc.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "hqc: error: this needs torch\nhqc: hint: pip install 'hqc[train]'\n"
