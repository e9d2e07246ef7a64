"""hqc compiles spiking vision transformers, quantized layer by layer, to small C libraries."""

from hqc.artifact import Artifact
from hqc.compiler import compile
from hqc.errors import UserError
from hqc.verification import Verification, verify

__all__ = ["Artifact", "UserError", "Verification", "compile", "verify"]
