"""Targets: `.hqt` files, one each, and the loader of their language."""

from hqc.targets.loader import Target, load_target, target_names

__all__ = ["Target", "load_target", "target_names"]
