"""What a network ends in, where that is no classifier of spike counts: its numbers as floats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT
from hqc.dialect.facts import write_bound
from hqc.dialect.metadata import MADE_FOR
from hqc.errors import UnsupportedModelError
from hqc.passes.axes import axes, size_of
from hqc.passes.graph import where
from hqc.passes.integer_rules.quantity import Lowering, Quantity, described, rescaled
from hqc.passes.integer_rules.time_steps import together

_BITS = 28
"""Bits of the largest number that leaves the network: more than its float32 has."""


def read_out(value: ir.Value, lowering: Lowering) -> ir.Value:
    """The network's output as float32: potentials, or spikes that were counted, times their unit.

    Raises `UnsupportedModelError` where it is no activation.
    """
    node, found = value.producer(), lowering.env.get(value)
    if not isinstance(found, Quantity):
        raise UnsupportedModelError(f"output {value.name!r} is not computed from the frames")
    x = found
    if not (x.is_plain and x.value.dtype == ir.DataType.INT32 and x.kind != "sums"):
        x = rescaled(node, x, lowering, max(float(np.max(x.float_reach)), 2.0**-100) / 2**_BITS)
    steps = size_of(x.view, "T")
    if steps > 1 and next(filter(None, x.view)) != axes(("T", steps))[0]:
        x = together(node, lowering, x)
    scale = np.float32(x.scale)
    logits = lowering.builder.op(
        "ReadPotentials",
        [x.value, lowering.builder.initializer(scale.reshape(1), f"{node.name}.unit")],
        x.shape,
        ir.DataType.FLOAT,
        name=f"{node.name}/Read",
        domain=DIALECT,
    )
    logits.producer().metadata_props[MADE_FOR] = where(node)
    described(replace(x, value=logits, kind="logits"))
    # The integer and the unit are rounded to float32, and their product is.
    bound = np.asarray(x.error) + 3 * 2.0**-24 * x.float_reach
    write_bound(logits, bound, x.channel_axis if np.size(bound) > 1 else None)
    return logits
