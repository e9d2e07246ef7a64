"""TVM TIR to a relocatable object with a plain C interface."""

from __future__ import annotations

import difflib
import os
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import cast

import tvm
from tvm import s_tir, tirx
from tvm.target import codegen

from hqc.errors import ToolError


@tvm.ir.transform.module_pass(opt_level=0)
def _on_the_cpu(module: tvm.IRModule, _context: object) -> tvm.IRModule:
    """Say that every body runs on the CPU: MakePackedAPI would have, and LowerTVMBuiltin asks."""
    zero, cpu = tirx.IntImm("int32", 0), tirx.IntImm("int32", 1)
    return tvm.IRModule(
        {
            symbol: function.with_body(
                tirx.AttrStmt(
                    zero,
                    "device_id",
                    zero,
                    tirx.AttrStmt(zero, "device_type", cpu, function.body),
                )
            )
            for symbol, function in module.functions.items()
        }
    )


# TVM's default pipeline for s_tir less MakePackedAPI, so that pointer parameters stay as they are.
_PLAIN_C = tvm.ir.transform.Sequential(
    [
        s_tir.transform.CanonicalizeLoop(),
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.CompactBufferAllocation(),
        s_tir.transform.LowerMatchBuffer(),
        s_tir.transform.StmtSimplify(),
        s_tir.transform.LowerOpaqueBlock(),
        tirx.transform.FlattenBuffer(),
        tirx.transform.NarrowDataType(32),
        s_tir.transform.LoopPartition(),
        tirx.transform.VectorizeLoop(True),
        tirx.transform.StorageRewrite(),
        tirx.transform.UnrollLoop(),
        tirx.transform.StmtSimplify(),
        tirx.transform.RemoveNoOp(),
        tirx.transform.CommonSubexprElim(),
        _on_the_cpu,
        tirx.transform.LowerTVMBuiltin(),
        tirx.transform.LowerIntrin(),
    ]
)


_SCALABLE = {"+v", "+sve", "+sve2"}
"""Features that make VectorizeLoop choose scalable vectors; the kernels are written for others."""


def write_object(
    functions: Mapping[str, tirx.PrimFunc], target: Mapping[str, object], path: Path
) -> None:
    """Compile PrimFuncs with pointer parameters to one object, each under its symbol.

    Raises `ToolError` for a cpu or features that LLVM does not know: it would do without.
    """
    _check(tvm.target.Target(dict(target)))
    path.write_bytes(_compile(functions, target))


_LLVM_OPTIONS = ("-vectorize-slp:bool=false",)
"""Kernels say themselves what is a vector. Of scalars LLVM makes vectors where rows of weights
begin, and takes them apart again: on x86 that waits for the sums, and takes a quarter longer."""

_FEW_REGISTERS = ("-unroll-threshold-aggressive:uint=60",)
"""Of RISC-V's vector registers a kernel's vectors take up to eight of 32 each. What LLVM keeps in
them over loops that it unrolls does not fit, and six instructions fetch it back: it unrolls short
loops alone there. N-MNIST takes a tenth less instructions, and two thirds of the code."""

_LLVM = threading.Lock()
"""Held while LLVM works: its options are those of the whole process, set and restored by TVM."""

_kept: dict[tuple[str, str, str], bytes] = {}
"""Objects by symbol, function and target, the first made first: what is verified is compiled next,
and of a model that was changed most kernels stay as they were."""
_MOST_KEPT = 1024
_keeping = threading.Lock()


class Objects:
    """An object for each PrimFunc of a library, compiled while Python builds the next ones.

    TVM and LLVM work without Python's lock. One that this process has compiled for the target
    before is not compiled again.
    """

    def __init__(self, target: Mapping[str, object]) -> None:
        self._target = target
        self._pool = ThreadPoolExecutor(1)
        self._checked = self._pool.submit(lambda: _check(tvm.target.Target(dict(target))))
        self._made: dict[str, Future[bytes]] = {}

    def add(self, symbol: str, function: tirx.PrimFunc) -> None:
        """Begin to compile a function."""
        self._made[symbol] = self._pool.submit(self._compiled, symbol, function)

    def _compiled(self, symbol: str, function: tirx.PrimFunc) -> bytes:
        self._checked.result()
        key = symbol, function.script(show_meta=True), repr(sorted(self._target.items()))
        made = _kept.get(key)
        if made is None:
            made = _compile({symbol: function}, self._target)
            with _keeping:
                _kept[key] = made
                if len(_kept) > _MOST_KEPT:
                    del _kept[next(iter(_kept))]
        return made

    def write(self, folder: Path) -> list[str]:
        """Write each to `SYMBOL.o`; returns their names. Raises what `write_object` does."""
        try:
            for symbol, made in self._made.items():
                (folder / f"{symbol}.o").write_bytes(made.result())
        finally:
            self.cancel()
        return [f"{symbol}.o" for symbol in self._made]

    def cancel(self) -> None:
        """Compile no more."""
        self._pool.shutdown(cancel_futures=True)


def _compile(functions: Mapping[str, tirx.PrimFunc], target: Mapping[str, object]) -> bytes:
    module = tvm.IRModule({s: f.with_attr("global_symbol", s) for s, f in functions.items()})
    features = cast(list, target.get("mattr", []))
    options = _LLVM_OPTIONS + (_FEW_REGISTERS if "+v" in features else ())
    target = dict(target) | {"cl-opt": list(options)}
    fixed = target | {"mattr": [f for f in features if f not in _SCALABLE]}
    bound = tirx.transform.BindTarget(tvm.target.Target(fixed, host=fixed))(module)
    lowered = _PLAIN_C(bound)
    with _LLVM:
        built = tvm.get_global_func("target.build.llvm")(lowered, tvm.target.Target(target))
        return _object_bytes(built)


def _check(target: tvm.target.Target) -> None:
    triple, cpu = (str(target.attrs[key]) for key in ("mtriple", "mcpu"))
    if not codegen.llvm_is_valid_cpu(cpu, triple):
        near = difflib.get_close_matches(cpu, codegen.llvm_get_cpu_archlist(target), 1)
        raise ToolError(
            f"LLVM knows no cpu {cpu!r} of {triple}",
            hint=f"did you mean {near[0]!r}?" if near else "'generic' is one of every machine",
        )
    known = codegen.llvm_get_cpu_features(target)
    for feature in map(str, target.attrs.get("mattr", [])):
        if feature[:1] not in ("+", "-") or (feature[0] == "+" and feature[1:] not in known):
            raise ToolError(f"LLVM knows no feature {feature!r} of {triple}")


def _object_bytes(built: tvm.runtime.Module) -> bytes:
    """The object file. LLVM ends the process where a disk is full, so it writes to memory."""
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "kernels.o")
            built.write_to_file(str(file), "o")
            return file.read_bytes()
    memory = os.memfd_create("kernels.o")
    try:
        file = Path(f"/proc/self/fd/{memory}")
        built.write_to_file(str(file), "o")
        return file.read_bytes()
    finally:
        os.close(memory)
