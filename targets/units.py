"""Units of target files, and the dimensions that are checked with them."""

from __future__ import annotations

from dataclasses import dataclass

_BASE = ("pJ", "bit", "s", "V", "nm")


@dataclass(frozen=True)
class Dimension:
    """What a quantity measures: exponents of energy, data, time, voltage and length.

    Values are in pJ, bit, s, V and nm and their products; W is 1e12 pJ/s.
    """

    exponents: tuple[int, ...] = (0, 0, 0, 0, 0)

    def __mul__(self, other: Dimension) -> Dimension:
        return Dimension(tuple(a + b for a, b in zip(self.exponents, other.exponents, strict=True)))

    def __truediv__(self, other: Dimension) -> Dimension:
        return self * other**-1

    def __pow__(self, exponent: int) -> Dimension:
        return Dimension(tuple(a * exponent for a in self.exponents))

    def __str__(self) -> str:
        above = [_factor(u, e) for u, e in zip(_BASE, self.exponents, strict=True) if e > 0]
        below = [_factor(u, -e) for u, e in zip(_BASE, self.exponents, strict=True) if e < 0]
        if not above and not below:
            return "a plain number"
        return "/".join([" ".join(above) or "1", *below])


def _factor(unit: str, exponent: int) -> str:
    return unit if exponent == 1 else f"{unit}^{exponent}"


def _base(index: int) -> Dimension:
    return Dimension(tuple(int(i == index) for i in range(len(_BASE))))


NUMBER = Dimension()
ENERGY, DATA, TIME, VOLTAGE, LENGTH = map(_base, range(len(_BASE)))
FREQUENCY, POWER = NUMBER / TIME, ENERGY / TIME

UNITS: dict[str, tuple[float, Dimension]] = {
    "fJ": (1e-3, ENERGY),
    "pJ": (1, ENERGY),
    "nJ": (1e3, ENERGY),
    "uJ": (1e6, ENERGY),
    "mJ": (1e9, ENERGY),
    "J": (1e12, ENERGY),
    "bit": (1, DATA),
    "B": (8, DATA),
    "KiB": (8 * 2**10, DATA),
    "MiB": (8 * 2**20, DATA),
    "GiB": (8 * 2**30, DATA),
    "ns": (1e-9, TIME),
    "us": (1e-6, TIME),
    "ms": (1e-3, TIME),
    "s": (1, TIME),
    "Hz": (1, FREQUENCY),
    "kHz": (1e3, FREQUENCY),
    "MHz": (1e6, FREQUENCY),
    "GHz": (1e9, FREQUENCY),
    "mV": (1e-3, VOLTAGE),
    "V": (1, VOLTAGE),
    "nm": (1, LENGTH),
    "um": (1e3, LENGTH),
    "mm": (1e6, LENGTH),
    "mW": (1e9, POWER),
    "W": (1e12, POWER),
}
"""Factor to base units, and dimension, by unit."""
