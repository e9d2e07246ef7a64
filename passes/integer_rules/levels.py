"""Neurons of several levels read potentials; their levels are small integers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT, find_op
from hqc.dialect.facts import write_bound
from hqc.dialect.fixed_point_integer_lif import level_reach
from hqc.dialect.intervals import RangeError
from hqc.passes.integer_rules.neurons import leak, scanned
from hqc.passes.integer_rules.quantity import Lowering, PotentialOverflowError, Quantity
from hqc.passes.integer_rules.registry import rule


@rule("IntegerLIF", domain=DIALECT)
def lower_integer_lif(node: ir.Node, lowering: Lowering) -> Quantity:
    """IntegerLIF -> FixedPointIntegerLIF on potentials, a threshold for every level.

    With v' = keep * v + gain * x, dividing by gain gives u' = keep * u + x; a level is fired where
    u is (k - 1/2) * v_threshold / gain. There halves go to even k, or up.
    """
    attributes = find_op(node).attributes(node)
    tau, count = attributes["tau"], attributes["levels"]
    keep, gain = 1 - 1 / tau, (1 / tau if attributes["decay_input"] else 1.0)
    if keep:
        scanned(node, lowering)
    x = lowering.potentials(node, 0)
    level = np.arange(1, count + 1)
    step = attributes["v_threshold"] / gain / float(x.scale)
    least = (level - 0.5) * step
    upwards = (level % 2 == 0) | bool(attributes["half_up"])
    thresholds = np.where(upwards, np.ceil(least), np.floor(least) + 1)
    drop, (multiplier, shift) = np.round(step), leak(keep)
    stream = lowering.stream_of(node.inputs[0])
    ends = int(x.low.min()), int(x.high.max())
    steps = x.shape[0] if keep else 1
    try:
        reach = level_reach(*ends, thresholds, int(drop), steps, (multiplier, shift))
    except RangeError as error:
        raise PotentialOverflowError(node, stream, error.by) from None
    parameters = [
        lowering.builder.initializer(array.astype(np.int32), f"{node.name}.{what}")
        for what, array in (("thresholds", thresholds), ("drop", drop.reshape(1)))
    ]
    zero, kind = np.float64(0), "spikes" if count == 1 else "levels"
    made = Quantity(x.value, kind, x.view, np.float64(1), zero, np.int64(0), np.int64(count), zero)
    levels = lowering.emit(
        node,
        "FixedPointIntegerLIF",
        [x.value, *parameters],
        made,
        ir.DataType.UINT8,
        domain=DIALECT,
        leak_multiplier=multiplier,
        leak_shift=shift,
    )
    # Rounded are the leak and what a spike takes away; a threshold is exact for whole potentials.
    unit = float(x.scale)
    a_step = np.max(x.error) + unit * count * abs(drop - step)
    if shift:
        a_step += unit * (0.5 + abs(multiplier / 2**shift - keep) * reach)
    error = sum(a_step * max(keep, multiplier / 2**shift) ** t for t in range(steps))
    write_bound(levels.value, np.asarray(gain * error), None)
    return levels
