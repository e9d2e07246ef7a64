"""Graph passes: each takes a model one step closer to kernels, each in a file of its own.

Importing this package registers every pass defined in it. A new pass is a new file.
"""

import importlib
import pkgutil

from hqc.passes.pass_base import Pass, find_pass, passes
from hqc.passes.pipeline import DEFAULT, Observer, PassDumper, parse_pipeline, run_passes

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "DEFAULT",
    "Observer",
    "Pass",
    "PassDumper",
    "find_pass",
    "parse_pipeline",
    "passes",
    "run_passes",
]
