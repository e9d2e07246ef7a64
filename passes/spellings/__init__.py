"""Other spellings of what hqc lowers, by op: one file per kind, registered on import."""

import importlib
import pkgutil

from hqc.passes.spellings.spelling import Rewrite, find_spellings

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Rewrite", "find_spellings"]
