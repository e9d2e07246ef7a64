"""How weight codes are stored, and the code that makes them bytes again.

A row holds the codes of one input for all N outputs. With fields of f bits (2, 4 or 8) it is
N f / 8 bytes: byte i holds output i in its lowest bits, then output i + N f / 8, and so on, so that
whole vectors unpack with one shift and one mask. Codes of more than 8 bits are stored as they are,
in 16 or 32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import Constant
from hqc.errors import UnsupportedModelError

_FIELDS = (2, 4, 8, 16, 32)


@dataclass(frozen=True, eq=False)
class StoredWeights:
    """Codes, integers [K, N], stored in fields of `field_bits`.

    Uniform: field = code - offset, an offset per output. Power of two: three bits of magnitude (0,
    or one more than the shift), then the sign.
    """

    codes: np.ndarray
    bits: int
    scheme: str

    @classmethod
    def of(cls, node: ir.Node, codes: np.ndarray) -> StoredWeights:
        """Codes stored as the node's attributes say."""
        bits, scheme = (node.attributes[n].value for n in ("weight_bits", "weight_scheme"))
        return cls(codes, bits, scheme)

    @property
    def form(self) -> tuple:
        """What code that reads the weights depends on."""
        return (*self.codes.shape, self.field_bits, self.is_shift)

    @property
    def field_bits(self) -> int:
        """Bits that a code takes; the next of 2, 4, 8, 16, 32."""
        return next(f for f in _FIELDS if f >= self.bits)

    @property
    def code_bits(self) -> int:
        """Bits of a code where it is not packed."""
        return max(self.field_bits, 8)

    @property
    def is_shift(self) -> bool:
        """Whether fields hold shifts; 2-bit power-of-two codes are -1, 0, 1 and stored as such."""
        return self.scheme == "pow2" and self.bits > 2

    @property
    def columns(self) -> int:
        """N, made up to whole bytes."""
        per_byte = self.code_bits // self.field_bits
        return -(-self.codes.shape[1] // per_byte) * per_byte

    @property
    def row_items(self) -> int:
        """Bytes of a stored row; numbers, where codes have more than 8 bits."""
        return self.columns * self.field_bits // self.code_bits

    def offsets(self) -> np.ndarray:
        """The offset of each output, int8 [columns]."""
        low = np.minimum(self.codes.min(0), 0) if self.field_bits <= 8 else np.zeros(0)
        return np.pad(low, (0, self.columns - low.size)).astype(np.int8)

    def fields(self) -> np.ndarray:
        """The unsigned fields, uint8 [K, columns]; the codes, where they are stored as such."""
        spare = ((0, 0), (0, self.columns - self.codes.shape[1]))
        codes = np.pad(self.codes, spare)
        if self.field_bits > 8:
            return codes.astype(f"int{self.field_bits}")
        codes = codes.astype(np.int16)
        if not self.is_shift:
            fields = codes - self.offsets()
            if fields.max(initial=0) >= 1 << self.field_bits:
                raise UnsupportedModelError(f"codes span more than {self.field_bits} bits")
            return fields.astype(np.uint8)
        magnitude = np.where(codes == 0, 0, np.log2(np.maximum(np.abs(codes), 1)) + 1)
        return (magnitude.astype(np.uint8) | (codes < 0) << 3).astype(np.uint8)

    def constants(self) -> tuple[Constant, Constant]:
        """The stored rows [K, row_items], and the offsets."""
        if self.field_bits > 8:
            return Constant(self.fields(), is_weights=True), Constant(self.offsets())
        parts = self.fields().reshape(len(self.codes), -1, self.row_items)
        shifts = np.arange(parts.shape[1], dtype=np.uint8)[:, None] * self.field_bits
        stored = np.bitwise_or.reduce(parts << shifts, axis=1)
        return Constant(stored.astype(np.uint8), is_weights=True), Constant(self.offsets())

    def reader(self):
        """A Python function (stored, offsets, k, i, part) -> TIR integer: the code of output
        part * row_items + i for input k."""
        bits, row_items = self.field_bits, self.row_items
        if bits > 8:
            return lambda stored, offsets, k, i, part: stored[k * row_items + i]
        mask = (1 << bits) - 1

        def read(stored, offsets, k, i, part):
            byte = stored[k * row_items + i]
            field = byte if bits == 8 else T.shift_right(byte, T.uint8(part * bits)) & T.uint8(mask)
            if self.is_shift:
                magnitude = T.shift_right(T.shift_left(T.uint8(1), field & T.uint8(7)), T.uint8(1))
                sign = T.int8(0) - T.Cast("int8", T.shift_right(field, T.uint8(3)))
                return T.bitwise_xor(T.Cast("int8", magnitude), sign) - sign
            return T.Cast("int8", field) + offsets[part * row_items + i]

        return read
