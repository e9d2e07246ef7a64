"""The functions of kernels that this process has built: what is verified is compiled next.

Python takes longer to build a function than LLVM to compile it. The key of a call says all that
its function depends on: tests/codegen/test_kept_functions.py.
"""

from __future__ import annotations

import threading

from tvm import tirx

from hqc.codegen.kernels import KernelCall

_kept: dict[tuple, tirx.PrimFunc] = {}
"""Functions by the key of their calls, and whether of all rows; the first built first."""
_MOST_KEPT = 1024
_keeping = threading.Lock()


def function_of(call: KernelCall, whole: bool) -> tirx.PrimFunc:
    """The function of a call: as it is, or the `whole` one, which takes no part of the rows."""
    key = call.key, whole
    function = _kept.get(key)
    if function is None:
        function = call.build_whole() if whole else call.build()
        with _keeping:
            _kept[key] = function
            if len(_kept) > _MOST_KEPT:
                del _kept[next(iter(_kept))]
    return function
