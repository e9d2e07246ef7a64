"""Files of other formats as dialect models: a file for each format, registered on import."""

import importlib
import pkgutil

from hqc.importers.importer import Asked, Importer, find_importer, importer, importers

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Asked", "Importer", "find_importer", "importer", "importers"]
