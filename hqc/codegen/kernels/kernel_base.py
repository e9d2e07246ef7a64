"""What a kernel is to the rest of the compiler: a PrimFunc and the operands it is called with.

Every PrimFunc takes one pointer per operand (a number for `Stride`), then `t_begin` and `steps`,
both int32: it computes that many time steps from `t_begin` on. Activations hold `steps` time steps.
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
    """Bytes that are free to use while the kernel runs."""

    size: int


@dataclass(frozen=True)
class State:
    """Bytes that last between time steps: `run_size` where a call computes all, else `size`."""

    run_size: int
    size: int


@dataclass(frozen=True)
class Stride:
    """Elements between positions in the kernel's state; 0 where a call computes all time steps."""

    elements: int


ANY = 2**30
"""The declared extent of a buffer behind a pointer, which TIR asks for and nothing reads."""

Operand = Input | Output | Constant | Scratch | State | Stride


@dataclass(frozen=True, eq=False)
class KernelCall:
    """One call. `build` makes its function; calls of equal `key` can share it."""

    build: Callable[[], tvm.tirx.PrimFunc]
    operands: tuple[Operand, ...]
    key: tuple


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
        return call if vector else replace(call, build=lambda: _in_loops(call.build()))

    return emit_for


def _in_loops(function: tvm.tirx.PrimFunc) -> tvm.tirx.PrimFunc:
    """The function with loops in place of vectors, which LLVM would take apart, lane by lane."""
    module = tvm.IRModule({"kernel": function.with_attr("global_symbol", "kernel")})
    (looped,) = tvm.tirx.transform.VectorizeLoop(False)(module).functions.values()
    return looped.without_attr("global_symbol")
