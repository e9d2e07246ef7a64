"""What a kernel is to the rest of the compiler: a PrimFunc and the operands it is called with.

Every PrimFunc takes one pointer per operand (a number for `Stride`), then `t_begin` and `steps`,
both int32: it computes that many time steps from `t_begin` on. Activations hold `steps` time steps.

Where a call has `rows`, two more int32 follow, `part` and `parts`: of its output's rows it computes
every so many, from the row `part` on. The calls of all parts may run at the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
import tvm

from hqc.errors import UnsupportedModelError


@dataclass(frozen=True)
class Input:
    """The node's input of that index, an activation."""

    index: int


@dataclass(frozen=True)
class Output:
    """The node's output."""


@dataclass(frozen=True, eq=False)
class Constant:
    """Read-only data; `is_weights` for the codes themselves, as against biases and thresholds."""

    array: np.ndarray
    is_weights: bool = False


@dataclass(frozen=True)
class Scratch:
    """Bytes that are free to use while the kernel runs; each of calls that run at once has some."""

    size: int


@dataclass(frozen=True)
class State:
    """Bytes that last between time steps: `run_size` where a call computes all, else `size`.

    Where `run_size` is less, all rows use these bytes in turn: each of calls that run at once has
    some. Else every row has bytes of its own.
    """

    run_size: int
    size: int


@dataclass(frozen=True)
class Stride:
    """Elements between positions in the kernel's state; 0 where a call computes all time steps."""

    elements: int


ANY = 2**30
"""The declared extent of a buffer behind a pointer, which TIR asks for and nothing reads."""

Operand = Input | Output | Constant | Scratch | State | Stride


def is_each_calls_own(operand: Operand, computes_all: bool) -> bool:
    """Whether each of calls that run at once needs such bytes for itself.

    `computes_all` is whether they compute all time steps.
    """
    if isinstance(operand, State):
        return computes_all and operand.run_size < operand.size
    return isinstance(operand, Scratch)


@dataclass(frozen=True, eq=False)
class KernelCall:
    """One call. `build` makes its function; calls of equal `key`, of any models, can share it.

    `rows` is how many its output has, which several calls can share; 0 where the function takes no
    part of them.
    """

    build: Callable[[], tvm.tirx.PrimFunc]
    operands: tuple[Operand, ...]
    key: tuple
    rows: int = 0

    def build_whole(self) -> tvm.tirx.PrimFunc:
        """The function of all rows, which takes no part of them."""
        function = self.build()
        if self.rows == 0:
            return function
        *_, part, parts = function.params
        whole = {part: tvm.tirx.const(0, "int32"), parts: tvm.tirx.const(1, "int32")}
        return function.specialize(whole)


Emitter = Callable[[ir.Node, bool], KernelCall]

_KERNELS: dict[str, Emitter] = {}


def kernel(op_type: str) -> Callable[[Emitter], Emitter]:
    """Register the decorated function as the kernel of an op. It gets the node and whether the
    target has vectors."""

    def register(emitter: Emitter) -> Emitter:
        _KERNELS[op_type] = emitter
        return emitter

    return register


def find_kernel(node: ir.Node) -> Emitter:
    """The kernel of a node. Raises `UnsupportedModelError` if there is none."""
    if node.op_type not in _KERNELS:
        raise UnsupportedModelError(f"node {node.name!r}: there is no kernel for {node.op_type}")
    emit = _KERNELS[node.op_type]

    def emit_for(node: ir.Node, vector: bool) -> KernelCall:
        call = emit(node, vector)
        build = call.build if vector else lambda: _in_loops(call.build())
        return replace(call, build=build, key=(*call.key, vector))

    return emit_for


def _in_loops(function: tvm.tirx.PrimFunc) -> tvm.tirx.PrimFunc:
    """The function with loops in place of vectors, which LLVM would take apart, lane by lane."""
    module = tvm.IRModule({"kernel": function.with_attr("global_symbol", "kernel")})
    (looped,) = tvm.tirx.transform.VectorizeLoop(False)(module).functions.values()
    return looped.without_attr("global_symbol")
