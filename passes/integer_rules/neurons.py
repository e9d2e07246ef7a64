"""LIF neurons become integer ones: scales, biases and BatchNorm end in their thresholds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from hqc.dialect import DIALECT, find_op
from hqc.dialect.facts import write_bound
from hqc.dialect.intervals import INT32, RangeError, neuron_interval
from hqc.passes.axes import spell
from hqc.passes.graph import unsupported
from hqc.passes.integer_rules.quantity import (
    FINE,
    Lowering,
    PotentialOverflowError,
    Quantity,
    along_channels,
)
from hqc.passes.integer_rules.registry import rule
from hqc.passes.integer_rules.time_steps import by_step

_FINEST = 20
"""Fractional bits that a potential has at most: beyond, a float32's own rounding is larger."""

_LEAK_BITS = 30
"""Bits of a leak's multiplier: with the 31 of a potential their product still fits 64."""

_COARSE = 2.0**-10
"""What of a threshold neurons may be wrong by before they read potentials of one unit instead."""


_NARROW = 2.0**-7
"""What of a threshold neurons may be wrong by for potentials of 16 bits."""


@dataclass(frozen=True)
class Charge:
    """What neurons of the float network do, in units of their accumulators, by channel.

    u = keep * u + accumulator + bias; fire where u >= threshold; then u = reset, or u -= reset in
    neurons of soft reset. `error` bounds how far the accumulators are from the float network's,
    `rounded` how far below the threshold a potential may be that is rounded to it in float32.
    """

    low: np.ndarray
    high: np.ndarray
    bias: np.ndarray
    threshold: np.ndarray
    reset: np.ndarray
    error: np.ndarray
    keep: float
    soft_reset: int
    time_steps: int
    rounded: np.ndarray | float = 0.0


@dataclass(frozen=True)
class Format:
    """How a layer's membrane potentials are held: fractional bits, and whether ever rounded.

    `potential_bits` is what holds them between steps.
    """

    frac_bits: int
    exact: bool
    potential_bits: int = 32


@dataclass(frozen=True)
class Held:
    """Neurons in a format: the operands and attributes of `FixedPointLIF`, and what they cost.

    `error` bounds, in units of accumulators, how far a potential less its threshold is from the
    float network's that had the same inputs and fired at the same steps.
    """

    bias: np.ndarray
    threshold: np.ndarray
    reset: np.ndarray
    attributes: dict[str, int]
    error: np.ndarray


def leak(keep: float) -> tuple[int, int]:
    """`keep` = 1 - 1/tau as multiplier / 2^shift, with the smallest shift that is exact."""
    for shift in range(_LEAK_BITS + 1):
        if keep * 2**shift == round(keep * 2**shift):
            break
    return round(keep * 2**shift), shift


def hold(charge: Charge, form: Format) -> Held:
    """The neurons in a format. Raises `RangeError` where 32 bits may not hold them."""
    unit = 2.0**form.frac_bits
    most = INT32 >> (charge.time_steps - 1) if form.exact else INT32
    bias, reset = (np.round(level * unit) for level in (charge.bias, charge.reset))
    # What takes in whole numbers reaches a threshold where it reaches the next whole number, not
    # the nearest: a threshold just above a count is not reached by it. In float32 a count times its
    # scale may be rounded up to one.
    level, whole = charge.threshold * unit, (charge.error == 0) & (bias == charge.bias * unit)
    reached = np.ceil(level - charge.rounded * unit)
    threshold = np.where(whole, reached, np.round(level))
    beyond, threshold = threshold > most, np.clip(threshold, -most, most)
    reset = np.where(beyond, 0, reset)  # what never fires is never reset
    if max(np.abs(bias).max(), np.abs(reset).max()) > INT32:
        raise RangeError("its bias does not fit 32 bits", 2)
    multiplier, shift = (1, 0) if form.exact else leak(charge.keep)
    attributes = {
        "frac_bits": form.frac_bits,
        "exact": int(form.exact),
        "leak_multiplier": multiplier,
        "leak_shift": shift,
        "soft_reset": charge.soft_reset,
        "potential_bits": form.potential_bits,
    }
    least, greatest, fires = neuron_interval(
        charge.low, charge.high, bias, threshold, reset, charge.time_steps, attributes
    )
    if np.any(fires & beyond):
        raise RangeError("its threshold does not fit 32 bits", 2)
    held = Held(bias, threshold, reset, attributes, np.zeros(()))
    reach = np.maximum(np.abs(least), np.abs(greatest)) / unit
    return replace(held, error=_error(charge, held, unit, reach))


def _error(charge: Charge, held: Held, unit: float, reach: np.ndarray) -> np.ndarray:
    """The bound of `Held`, where no potential's magnitude exceeds `reach` accumulators."""
    exact, multiplier, shift = (
        held.attributes[n] for n in ("exact", "leak_multiplier", "leak_shift")
    )
    keep = charge.keep if exact else multiplier / 2**shift
    at_threshold = np.abs(charge.threshold - held.threshold / unit)
    at_threshold = np.where(
        at_threshold > 1 / unit + charge.rounded, 0, at_threshold
    )  # it is out of reach
    a_step = charge.error + np.abs(charge.bias - held.bias / unit)
    if shift:
        a_step = a_step + 0.5 / unit + abs(keep - charge.keep) * reach
    after_reset = np.abs(charge.reset - held.reset / unit)
    after_reset = np.where(after_reset > 1 / unit, 0, after_reset)  # of what is never reset
    if charge.soft_reset:
        a_step, after_reset = a_step + after_reset, 0
    error = worst = np.maximum(np.zeros_like(charge.bias), after_reset)
    for _ in range(charge.time_steps):
        error = max(keep, charge.keep) * error + a_step
        worst = np.maximum(worst, error)
    return worst + at_threshold


def formats(charge: Charge, mode: str, potential_bits: int = 32) -> Iterator[Format]:
    """Formats to try, of each kind the finest first.

    Only a potential that halves each step (tau = 2) has an exact form: it grows by 2^(T-1).
    """
    handled = (charge.low, charge.high, charge.bias, charge.reset)
    bound = max(float(np.abs(a).max()) for a in handled)
    room = int(np.log2(INT32 / max(bound, 1.0)))
    halves = charge.keep == 0.5
    if mode in ("auto", "guarded") or not halves:
        finest = min(room, _FINEST)
        yield from (Format(f, False, potential_bits) for f in range(finest, -1, -1))
    if mode in ("auto", "exact") and halves:
        finest = min(room - charge.time_steps + 1, _FINEST)
        yield from (Format(f, True, potential_bits) for f in range(finest, -1, -1))


def choose_format(charge: Charge, mode: str, potential_bits: int = 32) -> Held | None:
    """The neurons in the format of least error that 32 bits hold; None if there is none.

    `potential_bits` hold their potentials between steps.
    """
    best = None
    done = set[bool]()
    for form in formats(charge, mode, potential_bits):
        if form.exact in done:
            continue
        try:
            held = hold(charge, form)
        except RangeError:
            continue
        done.add(form.exact)
        if best is None or _worst(charge, held) < _worst(charge, best):
            best = held
    return best


def _worst(charge: Charge, held: Held) -> float:
    """The largest error of any channel, as a part of its threshold, or of what it reaches."""
    reach = np.maximum(np.abs(charge.low), np.abs(charge.high)) + np.abs(charge.bias)
    scale = np.where(charge.threshold > 0, charge.threshold, np.maximum(reach, 1))
    return float((held.error / scale).max())


@dataclass(frozen=True)
class Candidate:
    """Neurons that could be emitted: what they read, and how they are held.

    `signs` is what the codes of each channel are multiplied by: -1 where its scale is negative, 0
    where it is held as a constant.
    """

    x: Quantity
    charge: Charge
    held: Held
    signs: np.ndarray
    unit: np.ndarray

    @property
    def worst(self) -> float:
        """The largest error of any channel, as a part of its threshold."""
        return _worst(self.charge, self.held)


def _candidate(node: ir.Node, x: Quantity, lowering: Lowering) -> Candidate | None:
    """Neurons on x, in the best format; None where 32 bits hold none.

    A channel whose sums move its potential by less than is fine, as after a BatchNorm of a tiny
    gamma, is held as a constant: in units of its sums, its threshold would take all the bits.
    """
    attributes = find_op(node).attributes(node)
    tau, decay = attributes["tau"], attributes["decay_input"]
    keep, gain = 1 - 1 / tau, (1 / tau if decay else 1.0)
    v_threshold = attributes["v_threshold"]
    time_steps = x.shape[0]
    memory = gain * (time_steps if keep == 1 else (1 - keep**time_steps) / (1 - keep))

    scale, offset, low, high, error = x.by_channel(x.scale, x.offset, x.low, x.high, x.error)
    signs = np.sign(scale).astype(np.int8)
    moved = np.maximum(np.abs(low), np.abs(high)) * np.abs(scale)
    if x.weights is not None:
        constant = moved * memory < FINE * v_threshold
        error, signs = np.where(constant, error + moved, error), np.where(constant, 0, signs)
    if not _signs_fit(x, signs, lowering):
        return None
    low, high = np.minimum(low * signs, high * signs), np.maximum(low * signs, high * signs)
    scale = np.where(signs == 0, 1.0, np.abs(scale))
    unit = gain * scale
    reset = attributes["v_reset"]
    if attributes["soft_reset"]:
        reset = v_threshold - reset
    charge = Charge(
        low,
        high,
        offset / scale,
        v_threshold / unit,
        reset / unit,
        error / scale,
        keep,
        attributes["soft_reset"],
        time_steps,
        _rounded_to(v_threshold) / unit,
    )
    held = choose_format(charge, lowering.mode)
    return None if held is None else Candidate(x, charge, held, signs, unit)


def _rounded_to(number: float) -> float:
    """How far below a float32 a number may be that is rounded to it: half way to the one before."""
    level = np.float32(number)
    return float(level - np.nextafter(level, np.float32(-np.inf))) / 2


def _signs_fit(x: Quantity, signs: np.ndarray, lowering: Lowering) -> bool:
    """Whether the codes can take the signs of the channels' scales.

    They cannot where other neurons gave them other signs, or where the least code, whose negative
    is no code, is in a channel of negative scale.
    """
    if x.weights is None:
        return True
    codes = x.weights.const_value.numpy()
    signs = np.broadcast_to(signs, codes.shape[x.weights_axis])
    applied = lowering.signs.get(x.weights)
    if applied is not None:
        return np.array_equal(applied, signs)
    least = np.moveaxis(codes == np.iinfo(codes.dtype).min, x.weights_axis, 0)
    return not least[signs < 0].any()


def scanned(node: ir.Node, lowering: Lowering) -> Quantity:
    """What neurons with a memory read, whose first axis is the time steps that they scan."""
    x = lowering.quantity(node, 0)
    steps = lowering.time_steps
    why = f"its input's axes are [{spell(x.view)}], whose first is not the {steps} time steps"
    return by_step(node, lowering, 0, why, "give neurons [T, ...]")


@rule("LIF", domain=DIALECT)
def lower_lif(node: ir.Node, lowering: Lowering) -> Quantity:
    """LIF(scale * acc + offset) -> FixedPointLIF(acc), an integer bias and threshold a channel.

    With v' = keep * v + gain * (scale * acc + offset), dividing by gain * scale gives
    u' = keep * u + acc + offset / scale, which fires where u' >= v_threshold / (gain * scale).
    """
    has_memory = find_op(node).attributes(node)["tau"] != 1
    x = scanned(node, lowering) if has_memory else lowering.quantity(node, 0)
    if x.channel_axis == 0 and x.channels > 1:  # levels go by axes that are not scanned
        x = lowering.potentials(node, 0)
        whole = {"low": np.min(x.low), "high": np.max(x.high), "error": np.max(x.error)}
        lowering.env[node.inputs[0]] = x = replace(x, **whole)
    if x.kind == "sums" and x.scale.ndim == 0 and x.scale <= 0:
        raise unsupported(
            node,
            f"it reads a product of activations times {float(x.scale):.3g}",
            "multiply by a positive number",
        )
    shared = len(node.inputs[0].uses()) > 1 and x.kind in ("sums", "frames")
    if x.kind == "frames" and not shared:  # as sums, they need not be rounded
        lowering.env[node.inputs[0]] = x = lowering.frames_as_sums(node, x, lowering)
    chosen = None
    if not shared and x.can_be_thresholded:
        chosen = _candidate(node, x, lowering)
    if chosen is None or (chosen.worst > _COARSE and x.weights is not None):
        signed = x.weights in lowering.signs
        potentials = _candidate(node, lowering.potentials(node, 0), lowering)
        if chosen is None or (potentials is not None and potentials.worst < chosen.worst):
            chosen = potentials
        else:
            lowering.env[node.inputs[0]] = x
            if not signed:
                lowering.signs.pop(x.weights, None)
    stream = lowering.stream_of(node.inputs[0])
    if chosen is None and not stream.is_coarsest:
        raise PotentialOverflowError(node, stream, 2)
    if chosen is None:
        raise unsupported(
            node,
            f"its membrane potential takes in up to {float(np.max(x.float_reach)):.3g} a step, "
            "which leaves no room in 32 bits"
            + (" over all time steps" if lowering.mode == "exact" else ""),
            "use guarded mode, or train this layer with fewer bits",
        )
    return _emit(node, _narrowed(chosen, lowering), lowering)


def _narrowed(chosen: Candidate, lowering: Lowering) -> Candidate:
    """Neurons whose potentials take 16 bits between steps, where asked and fine enough."""
    if lowering.potential_bits == 32:
        return chosen
    held = choose_format(chosen.charge, lowering.mode, lowering.potential_bits)
    if held is None or _worst(chosen.charge, held) > _NARROW:
        return chosen
    return replace(chosen, held=held)


def _emit(node: ir.Node, chosen: Candidate, lowering: Lowering) -> Quantity:
    x, held = chosen.x, chosen.held
    if x.weights is not None and x.weights not in lowering.signs:
        outputs = x.weights.shape.numpy()[x.weights_axis]
        lowering.signs[x.weights] = np.broadcast_to(chosen.signs, outputs).astype(np.int8)
    parameters = [
        lowering.builder.initializer(
            along_channels(node, x, array).astype(np.int32), f"{node.name}.{kind}"
        )
        for kind, array in (
            ("bias", held.bias),
            ("threshold", held.threshold),
            ("reset", held.reset),
        )
    ]
    one, zero = np.float64(1), np.float64(0)
    spikes = lowering.emit(
        node,
        "FixedPointLIF",
        [x.value, *parameters],
        Quantity(x.value, "spikes", x.view, one, zero, np.int64(0), np.int64(1), zero),
        ir.DataType.UINT8,
        domain=DIALECT,
        **held.attributes,
    )
    axis = x.channel_axis if x.channels > 1 else None
    write_bound(spikes.value, held.error * chosen.unit, axis)
    return spikes
