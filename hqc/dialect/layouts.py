"""How tensors of the kernel model lie in memory."""

from __future__ import annotations

import onnx_ir as ir

WORD = 32
"""Bits of a word of spikes, one a channel; potentials have whole words of channels, too."""

ALIGNMENT = 64
"""What areas of the arena and constants are aligned to, in bytes."""


def alias_root(value: ir.Value) -> ir.Value:
    """The value whose bytes these are: a Reshape moves nothing."""
    node = value.producer()
    while node is not None and node.op_type == "Reshape":
        value = node.inputs[0]
        node = value.producer()
    return value
