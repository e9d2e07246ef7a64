"""Peers: the same network in floats in TVM, with its own loops, and with loops in tiles.

TVM's pipeline for processors fuses operators and leaves their loops as they are written: LLVM makes
vectors of those of neurons, and computes sums of products one by one. `tvm-fp32-tiled` computes
these in tiles (`tvm/tiles.py`). Neither is tuned: that takes hours, would make both faster, and is
no part of a benchmark. Loops are not parallel, and run on one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from hqc.bench.counted_peer import counted_peer
from hqc.bench.peer import Runner, peer
from hqc.targets import Target

# TVM takes seconds to load, so functions import what needs it.


@peer("tvm-fp32")
def build(model: ir.Model, calibration: Sequence[np.ndarray]) -> Runner:
    """TVM's import of ONNX and its pipeline for this processor."""
    from hqc.bench.tvm.network import host, run_here

    return run_here(model, host(), lambda module: module)


@peer("tvm-fp32-tiled")
def build_tiled(model: ir.Model, calibration: Sequence[np.ndarray]) -> Runner:
    """The same with tiles."""
    from tvm.target import codegen

    from hqc.bench.tvm.network import host, run_here
    from hqc.bench.tvm.tiles import Registers, tiled

    target = host()
    width = codegen.llvm_get_vector_width(target)
    registers = Registers.of(codegen.llvm_get_system_triple(), width)
    return run_here(model, target, lambda module: tiled(module, registers))


@counted_peer("tvm-fp32")
def link(model: ir.Model, target: Target, cc: str | None, folder: Path) -> Path:
    """A program of TVM's kernels for a target."""
    from hqc.bench.tvm.program import link_program

    return link_program(model, target, cc, folder, lambda module: module)


@counted_peer("tvm-fp32-tiled")
def link_tiled(model: ir.Model, target: Target, cc: str | None, folder: Path) -> Path:
    """The same with tiles."""
    from hqc.bench.tvm.program import link_program
    from hqc.bench.tvm.tiles import Registers, tiled

    registers = Registers.of(target.llvm["triple"], target.vector_bits)
    return link_program(model, target, cc, folder, lambda module: tiled(module, registers))
