"""Forms that a compiled model is packaged in: one file each, registered on import."""

import importlib
import pkgutil

from hqc.packaging.form import find_form, forms, package

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["find_form", "forms", "package"]
