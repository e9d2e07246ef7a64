"""Neurons of other libraries as ours: one file each, registered on import."""

import importlib
import pkgutil

from hqc.frontend.libraries.library import Library, library_of

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Library", "library_of"]
