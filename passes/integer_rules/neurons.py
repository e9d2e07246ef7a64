"""LIF neurons become integer ones: scales, biases and BatchNorm end in their thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT, find_op
from hqc.passes.graph import unsupported
from hqc.passes.integer_rules.quantity import Lowering, PotentialOverflowError, Quantity, rule

_INT32 = 2**31 - 1
_FINEST = 20
_LEAK_BITS = 15


@dataclass(frozen=True)
class Format:
    """How a layer's membrane potentials are held: fractional bits, and whether ever rounded."""

    frac_bits: int
    exact: bool

    @property
    def error(self) -> float:
        """Bound on the potential's error, in accumulator units, for tau = 2.

        Half a unit from the threshold, and half a unit a step from the bias, halved each step; the
        guarded form rounds once more a step.
        """
        return (1.5 if self.exact else 2.5) * 2.0**-self.frac_bits


def leak(keep: float) -> tuple[int, int]:
    """`keep` = 1 - 1/tau as multiplier / 2^shift, with the smallest shift that is exact."""
    for shift in range(_LEAK_BITS + 1):
        if keep * 2**shift == round(keep * 2**shift):
            break
    return round(keep * 2**shift), shift


def choose_format(bound: float, time_steps: int, halves: bool, mode: str) -> Format | None:
    """The format of least error whose values stay in 32 bits; None if there is none.

    `bound` is the largest magnitude of anything the neurons handle, in accumulator units. Only a
    membrane potential that `halves` each step (tau = 2) has an exact form: it grows by 2^(T-1).
    """
    room = np.log2(_INT32 / max(bound, 1.0))
    candidates = []
    if mode in ("auto", "guarded") or not halves:
        candidates.append(Format(min(int(np.floor(room - 1e-9)), _FINEST), exact=False))
    if mode in ("auto", "exact") and halves:
        growth = time_steps - 1
        candidates.append(Format(min(int(np.floor(room - growth - 1e-9)), _FINEST), exact=True))
    return min((c for c in candidates if c.frac_bits >= 0), key=lambda c: c.error, default=None)


@rule("LIF", domain=DIALECT)
def lower_lif(node: ir.Node, lowering: Lowering) -> Quantity:
    """LIF(scale * acc + offset) -> FixedPointLIF(acc), an integer bias and threshold a channel.

    With v' = keep * v + gain * (scale * acc + offset), dividing by gain * scale gives
    u' = keep * u + acc + offset / scale, which fires where u' >= v_threshold / (gain * scale).
    """
    attributes = find_op(node).attributes(node)
    x = lowering.quantity(node, 0)
    shared = len(node.inputs[0].uses()) > 1 and not x.is_small
    if shared or not x.can_be_thresholded or not _signs_fit(x, lowering):
        x = lowering.potentials(node, 0)
    if x.shape[0] != lowering.time_steps:
        raise unsupported(
            node, f"its first axis is {x.shape[0]}, not the {lowering.time_steps} time steps"
        )
    channels = max(x.scale.size, x.offset.size)
    scale, offset, low, high = (
        np.broadcast_to(a, channels).copy() for a in (x.scale, x.offset, x.low, x.high)
    )
    _make_positive(node, x, lowering, scale, low, high)

    tau, decay = attributes["tau"], attributes["decay_input"]
    keep, gain = 1 - 1 / tau, (1 / tau if decay else 1.0)
    threshold = attributes["v_threshold"] / (gain * scale)
    reset = (0.0 if attributes["soft_reset"] else attributes["v_reset"]) / (gain * scale)
    bias = offset / scale

    # The potential's bounds: inputs that all push one way, never discharged, on top of a reset.
    time_steps = lowering.time_steps
    memory = time_steps if keep == 1 else (1 - keep**time_steps) / (1 - keep)
    lowest = np.minimum(low + bias, 0) * memory + np.minimum(reset, 0)
    highest = np.maximum(high + bias, 0) * memory + np.maximum(reset, 0)
    threshold = np.minimum(threshold, highest + 1)  # out of reach is out of reach
    handled = (low, high, bias, low + bias, high + bias, lowest, highest + 1)
    bound = max(np.abs(a).max() for a in handled)
    chosen = choose_format(float(bound) + 1, time_steps, keep == 0.5, lowering.mode)
    if chosen is None and lowering.unit_bits and lowering.are_potentials(x):
        raise PotentialOverflowError(node)
    if chosen is None:
        raise unsupported(
            node,
            f"its membrane potential reaches {bound:.3g}, which leaves no room in 32 bits"
            + (" over all time steps" if lowering.mode == "exact" else ""),
            "use guarded mode, or train this layer with fewer bits",
        )
    multiplier, shift = (1, 0) if chosen.exact else leak(keep)
    unit = 2.0**chosen.frac_bits
    trailing = [1] * (len(x.shape) - 1 - x.axis) if channels > 1 else []
    parameters = [
        lowering.builder.initializer(
            np.broadcast_to(array, channels).astype(np.int32).reshape([-1, *trailing]),
            f"{node.name}.{kind}",
        )
        for kind, array in (
            ("bias", np.round(bias * unit)),
            ("threshold", np.round(threshold * unit)),
            ("reset", np.round(reset * unit)),
        )
    ]
    value = lowering.builder.op(
        "FixedPointLIF",
        [x.value, *parameters],
        x.shape,
        ir.DataType.UINT8,
        name=node.name,
        domain=DIALECT,
        frac_bits=chosen.frac_bits,
        exact=int(chosen.exact),
        leak_multiplier=multiplier,
        leak_shift=shift,
        soft_reset=attributes["soft_reset"],
    )
    return lowering.activation(node, value)


def _signs_fit(x: Quantity, lowering: Lowering) -> bool:
    """Whether the codes can take the signs of the channels' scales.

    They cannot where other neurons gave them other signs, or where the least code, whose negative
    is no code, is in a channel of negative scale.
    """
    if x.weights is None:
        return True
    codes = x.weights.const_value.numpy()
    sign = np.broadcast_to(np.sign(x.scale), codes.shape[x.weights_axis])
    applied = lowering.signs.get(x.weights)
    if applied is not None:
        return np.array_equal(applied, sign)
    least = np.moveaxis(codes == np.iinfo(codes.dtype).min, x.weights_axis, 0)
    return not least[sign < 0].any()


def _make_positive(
    node: ir.Node,
    x: Quantity,
    lowering: Lowering,
    scale: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> None:
    """Negate the codes of channels of negative scale; silence those of scale 0. In place."""
    sign = np.sign(scale).astype(np.int8)
    if x.weights is None:
        if np.any(sign <= 0):
            raise unsupported(
                node, "a channel's scale is not positive, and no weights carry its sign"
            )
        return
    if x.weights not in lowering.signs:
        codes = x.weights.const_value.numpy()
        shape = [1] * codes.ndim
        shape[x.weights_axis] = -1
        x.weights.const_value = ir.tensor(codes * sign.reshape(shape))
        lowering.signs[x.weights] = sign
    low[:], high[:] = np.minimum(low * sign, high * sign), np.maximum(low * sign, high * sign)
    scale[:] = np.where(sign == 0, 1.0, np.abs(scale))
