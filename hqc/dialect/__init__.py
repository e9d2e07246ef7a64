"""The dialect: every op is an ONNX function with a numpy reference, in a file of its own.

Importing this package registers every op defined in it. A new op is a new file.
"""

import importlib
import pkgutil

from hqc.dialect.op import DIALECT, KERNEL, OPSET, Op, attach_functions, find_op, ops

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["DIALECT", "KERNEL", "OPSET", "Op", "attach_functions", "find_op", "ops"]
