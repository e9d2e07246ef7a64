"""Kernels in TVM TIR: one file per op of the kernel model, registered on import."""

import importlib
import pkgutil

from hqc.codegen.kernels.kernel_base import (
    Constant,
    Input,
    KernelCall,
    Output,
    Scratch,
    State,
    Stride,
    find_kernel,
    is_each_calls_own,
)
from hqc.codegen.quick_scripts import quicken

quicken()
for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "Constant",
    "Input",
    "KernelCall",
    "Output",
    "Scratch",
    "State",
    "Stride",
    "find_kernel",
    "is_each_calls_own",
]
