"""How tensors of the kernel model lie in memory."""

from __future__ import annotations

import onnx_ir as ir

from hqc.dialect.op import find_op

WORD = 32
"""Bits of a word of spikes, one a channel; potentials have whole words of channels, too."""

ALIGNMENT = 64
"""What areas of the arena and constants are aligned to, in bytes."""


MOST_THREADS = 64
"""Threads that may share an inference."""


def aligned(size: int) -> int:
    """The least multiple of `ALIGNMENT` that is no less."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def alias_root(value: ir.Value) -> ir.Value:
    """The value whose bytes these are: a Reshape moves nothing."""
    node = value.producer()
    while node is not None and node.op_type == "Reshape":
        value = node.inputs[0]
        node = value.producer()
    return value


def is_after_last_step(value: ir.Value) -> bool:
    """Whether a value is of all time steps: it lasts between them, or is made of what does."""
    pending, seen = [value], set[ir.Value]()
    while pending:
        value = pending.pop()
        node = value.producer()
        if value in seen or node is None:
            continue
        seen.add(value)
        if _lasts(node):
            return True
        pending += [v for v in node.inputs if v is not None]
    return False


def readout(graph: ir.Graph) -> set[ir.Node]:
    """The nodes that read what lasts between time steps: they run once, after the last step."""
    found, of_all_steps = set[ir.Node](), set[ir.Value]()
    for node in graph:
        if of_all_steps.intersection(v for v in node.inputs if v is not None):
            found.add(node)
        if node in found or _lasts(node):
            of_all_steps.update(node.outputs)
    return found


def _lasts(node: ir.Node) -> bool:
    op = find_op(node)
    return op is not None and op.lasts
