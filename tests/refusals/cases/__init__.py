"""The table of refusals, a file for each part of the compiler, registered on import."""

import importlib
import pkgutil

from tests.refusals.case import CASES

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["CASES"]
