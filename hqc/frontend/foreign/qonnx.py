"""Quant, BipolarQuant and Trunc of QONNX, as Brevitas exports them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from hqc.dialect.quant_uniform import code_range
from hqc.frontend.foreign.activations import read_activation
from hqc.frontend.foreign.grid import Grid, Rounding
from hqc.frontend.foreign.registry import Rewriting, reads
from hqc.frontend.foreign.weights import Codes, read_constant
from hqc.passes.graph import integer, unsupported

_DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")

_HINT = "export the network with brevitas.export.export_qonnx"


def _away(rounding: Rounding) -> Rounding:
    """A rounding of magnitudes."""
    return lambda x: np.sign(x) * rounding(np.abs(x))


_ROUNDINGS: dict[str, Rounding] = {
    "ROUND": np.round,
    "HALF_EVEN": np.round,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "UP": _away(np.ceil),
    "DOWN": np.fix,
    "ROUND_TO_ZERO": np.fix,
    "HALF_UP": _away(lambda x: np.floor(x + np.float32(0.5))),
    "HALF_DOWN": _away(lambda x: np.ceil(x - np.float32(0.5))),
}
"""By name, in capitals, as qonnx's executor rounds."""


@reads("Quant", *_DOMAINS)
@reads("IntQuant", *_DOMAINS)
def quant(node: ir.Node, rewriting: Rewriting) -> None:
    """(round(clip(x / scale + zero, low, high)) - zero) * scale."""
    scale, zero, bits = _constants(node, rewriting, "scale", "zero point", "bit width")
    width = _number(node, bits, "bit width")
    signed, narrow = (integer(node, name, 1) for name in ("signed", "narrow"))
    if width == 1 and signed:
        _read(node, _bipolar(scale, zero), rewriting)
        return
    low, high = _range(width, signed, narrow)
    grid = Grid(scale, zero, low, high, _rounding(node, "ROUND"), rounds_first=False)
    _read(node, grid, rewriting, width, signed=signed, narrow=narrow)


@reads("BipolarQuant", *_DOMAINS)
def bipolar(node: ir.Node, rewriting: Rewriting) -> None:
    """The scale where x is not negative, and less the scale where it is."""
    (scale,) = _constants(node, rewriting, "scale")
    _read(node, _bipolar(scale, np.zeros((), np.float32)), rewriting)


@reads("Trunc", *_DOMAINS)
def trunc(node: ir.Node, rewriting: Rewriting) -> None:
    """Codes of which the lower bits are dropped, of constants and of few numbers."""
    names = ("scale", "zero point", "bit width", "output's scale", "output's bit width")
    inputs = names if len(node.inputs) == 6 else (*names[:3], names[4])
    given = dict(zip(inputs, _constants(node, rewriting, *inputs), strict=True))
    scale, zero = given["scale"], given["zero point"]
    before, after = (_number(node, given[n], n) for n in (names[2], names[4]))
    rounding = _rounding(node, "FLOOR")
    if "output's scale" in given:
        unit = given["output's scale"]
        steps = (2 ** np.round(np.log2(unit / scale))).astype(np.float32)
        signed, narrow = integer(node, "signed", 1), integer(node, "narrow", 0)
        ends = _range(after, signed, narrow)
        grid = _Truncated(scale, zero, *ends, rounding, steps=steps, output=unit)
    else:
        steps = np.array(2.0 ** (before - after), np.float32)
        grid = _Truncated(scale, zero, 0, 0, rounding, steps=steps, output=None)
    _read(node, grid, rewriting)


@dataclass(frozen=True)
class _Bipolar(Grid):
    """Two codes, by sign."""

    def codes(self, x: np.ndarray) -> np.ndarray:
        """1 where x is not negative, else -1, less the zero point."""
        ratio = x.astype(np.float32) / self.scale + self.zero
        return np.where(ratio >= 0, np.float32(1), np.float32(-1)) - self.zero


@dataclass(frozen=True)
class _Truncated(Grid):
    """Codes that are divided by `steps` and rounded again; they are clipped if `output` is given.

    `output` is then their scale, as in the op's second version.
    """

    steps: np.ndarray = field(kw_only=True)
    output: np.ndarray | None = field(kw_only=True)

    @property
    def unit(self) -> np.ndarray:
        """The output's scale."""
        return self.scale if self.output is None else self.output

    def codes(self, x: np.ndarray) -> np.ndarray:
        """The codes that are left, less their zero point."""
        zero = self.zero.astype(np.float32)
        codes = np.round(x.astype(np.float32) / self.scale + zero) / self.steps
        if self.output is None:
            return self.rounding(codes) - zero
        return self.rounding(np.clip(codes, self.low, self.high)) - zero / self.steps


def _bipolar(scale: np.ndarray, zero: np.ndarray) -> Grid:
    return _Bipolar(scale, zero, -1, 1, np.sign, False)


def _range(bits: int, signed: int, narrow: int) -> tuple[int, int]:
    """The ends of QONNX's codes, whose unsigned ones may be narrow, too."""
    if signed:
        return code_range(bits, 1, narrow)
    return 0, 2**bits - 1 - narrow


def _constants(node: ir.Node, rewriting: Rewriting, *names: str) -> list[np.ndarray]:
    """The operands behind the first, as float32."""
    given = node.inputs[1:]
    if len(given) != len(names) or None in given:
        raise unsupported(node, f"it has {len(given)} operands, not {len(names)}", _HINT)
    arrays = []
    for name, value in zip(names, given, strict=True):
        if not rewriting.constants.is_constant(value):
            raise unsupported(node, f"its {name} is computed", "export it with constant quantizers")
        arrays.append(rewriting.constants.array(value).astype(np.float32))
    return arrays


def _number(node: ir.Node, array: np.ndarray, what: str) -> int:
    numbers = np.unique(array)
    if numbers.size != 1 or not 1 <= numbers[0] <= 32 or numbers[0] != np.round(numbers[0]):
        found = ", ".join(f"{n:g}" for n in numbers)
        raise unsupported(node, f"its {what} is {found}", "give it one whole number of bits")
    return int(numbers[0])


def _rounding(node: ir.Node, default: str) -> Rounding:
    attribute = node.attributes.get("rounding_mode")
    name = (default if attribute is None else attribute.value).upper()
    if name not in _ROUNDINGS:
        raise unsupported(
            node, f"its rounding mode is {name}", f"hqc knows {', '.join(sorted(_ROUNDINGS))}"
        )
    return _ROUNDINGS[name]


def _read(
    node: ir.Node, grid: Grid, rewriting: Rewriting, bits: int | None = None, **said: int
) -> None:
    x = node.inputs[0]
    if not rewriting.constants.is_constant(x):
        read_activation(node, x, grid, rewriting, bits)
        return
    codes = grid.codes(rewriting.constants.array(x))
    if not np.array_equal(codes, np.round(codes)):
        raise unsupported(node, "its zero point is no whole number", "quantize weights around 0")
    axes = [i for i, n in enumerate(grid.unit.shape[::-1]) if n > 1]
    axis = codes.ndim - 1 - axes[0] if len(axes) == 1 else None
    unit = np.broadcast_to(grid.unit, codes.shape)
    found = Codes(codes.astype(np.int64), unit, axis, bits, **said)
    read_constant(node, found, rewriting)
