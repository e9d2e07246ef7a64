"""A network in floats as TVM compiles it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
import tvm
from tvm import relax
from tvm.relax.backend.cpu_generic import pipeline
from tvm.relax.frontend.onnx import from_onnx
from tvm.target import codegen

from hqc.bench.standard_model import folded_model

Schedule = Callable[[tvm.IRModule], tvm.IRModule]
"""Rewrites the loops of a module's functions, and changes no number but by rounding."""


def fused(model: ir.Model, target: tvm.target.Target) -> tvm.IRModule:
    """TVM's import of ONNX, its operators written as loops and fused, as TVM does for processors.

    `main` calls the functions one after another.
    """
    module = from_onnx(folded_model(model), keep_params_in_input=False)
    passes = [*pipeline.library_dispatch_passes(target), *pipeline.legalize_passes(target)]
    with target:
        return tvm.transform.Sequential(passes)(module)


def host() -> tvm.target.Target:
    """This machine's processor."""
    return tvm.target.Target({"kind": "llvm", "mcpu": codegen.llvm_get_system_cpu()})


def run_here(
    model: ir.Model, target: tvm.target.Target, schedule: Schedule
) -> Callable[[np.ndarray], np.ndarray]:
    """Compile for this machine, for TVM's virtual machine; frames to logits, on one thread."""
    passes: Sequence[tvm.ir.transform.Pass] = [
        *pipeline.dataflow_lower_passes(target),
        *pipeline.finalize_passes(target),
    ]
    compiled = tvm.compile(
        schedule(fused(model, target)), target, relax_pipeline=tvm.transform.Sequential(passes)
    )
    machine = relax.VirtualMachine(compiled, tvm.cpu())
    return lambda frames: machine["main"](tvm.runtime.tensor(frames)).numpy()
