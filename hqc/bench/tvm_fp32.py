"""Peer: the same network in floats in TVM, with its default schedules, which are not tuned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from hqc.bench.peer import Runner, peer
from hqc.bench.standard_model import folded_model


@peer("tvm-fp32")
def build(model: ir.Model, calibration: Sequence[np.ndarray]) -> Runner:
    """TVM's import of ONNX and its default pipeline for this processor, operators fused.

    Loops stay as its operators are written: hours of tuning, which would make it faster, are not
    part of a benchmark. They have no parallel loops, and run on one thread.
    """
    # TVM takes seconds to load.
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx
    from tvm.target import codegen

    target = tvm.target.Target({"kind": "llvm", "mcpu": codegen.llvm_get_system_cpu()})
    module = from_onnx(folded_model(model), keep_params_in_input=False)
    machine = relax.VirtualMachine(tvm.compile(module, target), tvm.cpu())
    return lambda frames: machine["main"](tvm.runtime.tensor(frames)).numpy()
