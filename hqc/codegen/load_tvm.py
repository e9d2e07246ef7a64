"""TVM, loaded without torch.

Where torch is installed, TVM's interface loads it, to take torch's tensors, of which a compiler has
none: twice the time that TVM itself takes to load, and as much memory.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _WithoutTorch(MetaPathFinder):
    """Finds no torch for the thread that it was made in."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Nothing, so that other finders are asked; `ModuleNotFoundError` for torch."""
        if fullname == "torch" and threading.get_ident() == self._thread:
            raise ModuleNotFoundError("TVM does without torch", name=fullname)
        return None


def load_tvm() -> None:
    """Import TVM, if it is not yet; where torch is imported before, TVM finds it."""
    finder = _WithoutTorch()
    sys.meta_path.insert(0, finder)
    try:
        import tvm  # noqa: F401
    finally:
        sys.meta_path.remove(finder)
