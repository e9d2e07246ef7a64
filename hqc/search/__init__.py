"""Searching each layer's quantizer: one method per file, which registers itself."""

from hqc.search.method import Options, find_method, methods
from hqc.search.run_folder import RunFolder

__all__ = ["Options", "RunFolder", "find_method", "methods"]
