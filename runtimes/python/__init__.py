"""Compiled models on the host, numpy in and out."""

from hqc.runtimes.python.host import HostModel

__all__ = ["HostModel"]
