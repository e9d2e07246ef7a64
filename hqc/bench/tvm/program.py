"""A program of TVM's kernels for another machine, without TVM's runtime.

TVM's `main` is a list of calls of functions on tensors. Here every function becomes an object with
a plain C interface, as hqc's kernels do, and generated C calls them, each tensor a buffer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx_ir as ir
import tvm
from tvm import relax, tirx

from hqc.bench.counted_peer import MARKER
from hqc.bench.tvm.network import Schedule, fused
from hqc.codegen.interface import render
from hqc.codegen.tir import Objects
from hqc.codegen.toolchain import Toolchain
from hqc.dialect.layouts import ALIGNMENT
from hqc.errors import UserError
from hqc.kernel_counts import MARKER_SOURCE
from hqc.targets import Target

_NAME = "peer"
_REFUSED = "name another peer, or leave out --peers"

# Copies of a tensor in another shape become the tensor itself, as in TVM's virtual machine.
_CALLS_ALONE = [
    relax.transform.RewriteDataflowReshape(),
    relax.transform.ToNonDataflow(),
    relax.transform.RemovePurityChecking(),
]


def link_program(
    model: ir.Model, target: Target, cc: str | None, folder: Path, schedule: Schedule
) -> Path:
    """Link the program of a dialect model in a folder, as `counted_peer.ProgramBuilder` says.

    Raises `UserError` where TVM makes more than calls of functions of the network, and `ToolError`
    where it cannot be compiled.
    """
    described = target.tvm_target()
    module = schedule(fused(model, tvm.target.Target(described)))
    module = tvm.transform.Sequential(_CALLS_ALONE)(module)
    calls = _Calls.of(module["main"])
    objects = Objects(described)
    for symbol, function in calls.symbols.items():
        objects.add(function, _with_pointers(module[symbol]))
    values = {
        "name": _NAME,
        "marker": MARKER,
        "alignment": ALIGNMENT,
        "kernels": "\n".join(calls.prototypes),
        "buffers": "\n".join(calls.buffers),
        "calls": "\n".join(calls.lines),
        "inputs": calls.inputs,
        "logits": calls.result,
        "outputs": calls.outputs,
        "weights_size": len(calls.constants),
    }
    (folder / "marker.c").write_text(MARKER_SOURCE.format(marker=MARKER))
    sources = [f"{_NAME}.c", f"{_NAME}_weights.S"]
    for source, template in zip(sources, ["tvm_peer.c.in", "weights.S.in"], strict=True):
        (folder / source).write_text(render(template, values))
    (folder / f"{_NAME}_weights.bin").write_bytes(calls.constants)
    toolchain = Toolchain.of(target, cc)
    toolchain.program([*sources, "marker.c", *objects.write(folder)], _NAME, folder, ["-lm"])
    return folder / _NAME


@dataclass
class _Calls:
    """TVM's `main` in C: kernels, their calls in order, and what holds the tensors."""

    symbols: dict[tvm.ir.GlobalVar, str] = field(default_factory=dict)
    prototypes: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    buffers: list[str] = field(default_factory=list)
    constants: bytearray = field(default_factory=bytearray)
    inputs: int = 0
    outputs: int = 0
    result: str = ""
    _places: dict[tvm.ir.Var, str] = field(default_factory=dict)
    _stored: dict[bytes, int] = field(default_factory=dict)

    @classmethod
    def of(cls, main: relax.Function) -> _Calls:
        """Those of a function of one tensor, float32, that gives one."""
        made = cls()
        (frames,) = main.params
        made.inputs, made.outputs = (_floats(ty) for ty in (frames.ty, main.ret_ty))
        made._places[frames] = "frames"
        for block in main.body.blocks:
            for binding in block.bindings:
                made._places[binding.var] = made._bind(binding.value)
        made.result = made._place(main.body.body)
        return made

    def _bind(self, value: tvm.ir.Expr) -> str:
        """Where a value is, once the calls so far are made."""
        if isinstance(value, tvm.ir.Var | tvm.ir.GenericConst):
            return self._place(value)
        called = value.op.name if isinstance(value, tvm.ir.Call) else type(value).__name__
        if called == "relax.reshape":
            return self._place(value.args[0])
        if called != "relax.call_tir" or not isinstance(value.ty, relax.TensorType):
            raise UserError(f"TVM makes a {called} of this network", hint=_REFUSED)
        function, operands = value.args
        made = self._buffer(value.ty)
        arguments = [*map(self._place, operands), made]
        if function not in self.symbols:
            self.symbols[function] = f"{_NAME}_kernel_{len(self.symbols)}"
            types = ", ".join(["const void *"] * len(operands))
            self.prototypes.append(f"int {self.symbols[function]}({types}, void *);")
        self.lines.append(f"    if ({self.symbols[function]}({', '.join(arguments)})) return 0;")
        return made

    def _place(self, value: tvm.ir.Expr) -> str:
        """A pointer to a tensor's elements, in C."""
        if not isinstance(value, tvm.ir.GenericConst):
            return self._places[value]
        content = np.ascontiguousarray(value.value.numpy()).tobytes()
        if content not in self._stored:
            self.constants += bytes(-len(self.constants) % ALIGNMENT)
            self._stored[content] = len(self.constants)
            self.constants += content
        return f"{_NAME}_weights + {self._stored[content]}"

    def _buffer(self, ty: relax.TensorType) -> str:
        name = f"tensor_{len(self.buffers)}"
        size = _elements(ty) * (tvm.DataType(str(ty.dtype)).bits + 7) // 8
        self.buffers.append(f"ALIGNED static uint8_t {name}[{size}];")
        return name


def _elements(ty: relax.TensorType) -> int:
    return math.prod(map(int, ty.shape))


def _floats(ty: relax.TensorType) -> int:
    """How many floats an input or output of the network holds."""
    if str(ty.dtype) != "float32":
        raise UserError(f"TVM takes or gives {ty.dtype} for this network", hint=_REFUSED)
    return _elements(ty)


def _with_pointers(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """A function of buffers as one of pointers, which returns 0 once it has found its memory."""
    pointers = [
        tirx.Var(f"{p.name}_data", tvm.ir.PointerType(tvm.ir.PrimType(str(p.ty.dtype))))
        for p in function.params
    ]
    body = [
        *(tirx.DeclBuffer(p, data=q) for p, q in zip(function.params, pointers, strict=True)),
        function.body,
        tirx.stmt.Return(tirx.IntImm("int32", 0)),
    ]
    result = tvm.ir.PrimType("int32")
    return tirx.PrimFunc(pointers, tirx.SeqStmt(body), result, function.attrs)
