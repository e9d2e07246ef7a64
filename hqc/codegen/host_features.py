"""What instructions the machine has that hqc runs on."""

from __future__ import annotations

from functools import cache

import tvm
from tvm.target import codegen

from hqc.targets import load_target


@cache
def host_features() -> frozenset[str]:
    """The features of its processor, by LLVM's names."""
    target = tvm.target.Target(load_target("host").tvm_target())
    return frozenset(map(str, codegen.llvm_get_cpu_features(target)))
