"""The version of hqc, read from its installed metadata."""

from importlib.metadata import version

VERSION = version("hqc")
