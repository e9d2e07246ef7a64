"""How weight codes are stored, and the code that unpacks them.

A row holds the codes of one input for all N outputs. With fields of f bits (2, 4 or 8) it is
N f / 8 bytes: byte i holds output i in its lowest bits, then output i + N f / 8, and so on, so that
whole vectors unpack with one shift and one mask. Codes of more than 8 bits are stored unpacked.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import Constant
from hqc.errors import VerificationError

_FIELDS = (2, 4, 8)
_CODES = (8, 16, 32)
_SHIFT_BITS = 4
"""Bits that a power-of-two code may have: a field has three for the magnitude, one for the sign."""


@dataclass(frozen=True, eq=False)
class StoredWeights:
    """Codes, integers [K, N], stored in fields of `field_bits`, unpacked to `code_bits`.

    Uniform: field = code - offset, an offset per output. Power of two: three bits of magnitude (0,
    or one more than the shift), then the sign.
    """

    codes: np.ndarray
    bits: int
    scheme: str

    @classmethod
    def of(cls, node: ir.Node, codes: np.ndarray) -> StoredWeights:
        """Codes stored as the node's attributes say.

        Raises `VerificationError` where they need more bits than that, or more than 32.
        """
        bits, scheme = (node.attributes[n].value for n in ("weight_bits", "weight_scheme"))
        stored = cls(codes.astype(np.int64), bits, scheme)
        if not stored._fit():
            raise VerificationError(
                f"node {node.name!r}: its codes, {codes.min()} to {codes.max()}, are not {scheme} "
                f"ones of {bits} bits"
            )
        return stored

    def _fit(self) -> bool:
        low, high = self._ends
        if self.is_shift:
            size = np.abs(self.codes)
            largest = 1 << (2 ** (self.bits - 1) - 2)
            powers = not (size & (size - 1)).any()
            return self.bits <= _SHIFT_BITS and powers and max(-low, high) <= largest
        span = int((self.codes.max(0) - self.low).max())
        return span < 1 << self.bits and low >= -(2**31) and high < 2**31

    @cached_property
    def _ends(self) -> tuple[int, int]:
        """The least and the largest code, or 0."""
        return int(self.codes.min(initial=0)), int(self.codes.max(initial=0))

    @cached_property
    def low(self) -> np.ndarray:
        """The least code of each output, or 0, int64 [N]."""
        return np.minimum(self.codes.min(0), 0)

    @property
    def form(self) -> tuple:
        """What code that reads the weights depends on."""
        return (*self.codes.shape, self.field_bits, self.code, self.is_shift)

    @property
    def is_packed(self) -> bool:
        """Whether codes are stored in fields of bytes."""
        return self.bits <= _FIELDS[-1]

    @property
    def code_bits(self) -> int:
        """Bits of an unpacked code: as many as the codes need, at least as many as are stored."""
        low, high = self._ends
        enough = (b for b in _CODES if -(1 << (b - 1)) <= low and high < 1 << (b - 1))
        return max(next(enough), next(b for b in _CODES if b >= self.bits))

    @property
    def code(self) -> str:
        """The type of an unpacked code."""
        return f"int{self.code_bits}"

    @property
    def field_bits(self) -> int:
        """Bits that a code takes in storage."""
        return next(f for f in _FIELDS if f >= self.bits) if self.is_packed else self.code_bits

    @property
    def is_shift(self) -> bool:
        """Whether fields hold shifts; 2-bit power-of-two codes are -1, 0, 1 and stored as such."""
        return self.scheme == "pow2" and self.bits > 2

    @property
    def parts(self) -> int:
        """Fields of an item, which is a byte, or a code where they are not packed."""
        return 8 // self.field_bits if self.is_packed else 1

    @property
    def columns(self) -> int:
        """N, made up to whole items."""
        return -(-self.codes.shape[1] // self.parts) * self.parts

    @property
    def row_items(self) -> int:
        """Items of a stored row."""
        return self.columns // self.parts

    def widened(self, columns: int, inputs: int = 0) -> StoredWeights:
        """The same with outputs of zeros behind, up to `columns`, and so many inputs of zeros."""
        more = columns - self.codes.shape[1]
        return StoredWeights(np.pad(self.codes, ((0, inputs), (0, more))), self.bits, self.scheme)

    def reordered(self, columns: np.ndarray) -> StoredWeights:
        """The same with the outputs of these indices [N], -1 for one of zeros."""
        return StoredWeights(
            self.widened(self.codes.shape[1] + 1).codes[:, columns], self.bits, self.scheme
        )

    def offsets(self) -> np.ndarray:
        """The offset of each output [columns], of the codes' type; zeros where none is added."""
        if not self.is_packed:
            return np.zeros(self.columns, np.int8)
        return np.pad(self.low, (0, self.columns - self.low.size)).astype(self.code)

    def fields(self) -> np.ndarray:
        """The unsigned fields, uint8 [K, columns]; the codes, where they are stored as such."""
        codes = np.pad(self.codes, ((0, 0), (0, self.columns - self.codes.shape[1])))
        if not self.is_packed:
            return codes.astype(self.code)
        if not self.is_shift:
            return (codes - self.offsets()).astype(np.uint8)
        magnitude = np.where(codes == 0, 0, np.log2(np.maximum(np.abs(codes), 1)) + 1)
        return (magnitude.astype(np.uint8) | (codes < 0) << 3).astype(np.uint8)

    def constants(self) -> tuple[Constant, Constant]:
        """The stored rows [K, row_items], and the offsets."""
        return Constant(self.packed(self.fields()), is_weights=True), Constant(self.offsets())

    def packed(self, fields: np.ndarray) -> np.ndarray:
        """Rows of fields [..., n], n a multiple of `parts`, as items [..., n / parts]."""
        parts = fields.reshape(*fields.shape[:-1], self.parts, -1)
        shifts = np.arange(self.parts, dtype=fields.dtype)[:, None] * self.field_bits
        return np.bitwise_or.reduce(parts << shifts, axis=-2).astype(fields.dtype)

    def reader(self):
        """A Python function (stored, offsets, k, i, part) -> TIR integer: the code of output
        part * row_items + i for input k, of the codes' type."""
        row_items, decoded = self.row_items, self.decoder()

        def read(stored, offsets, k, i, part):
            item = stored[k * row_items + i]
            return decoded(item, part, lambda: offsets[part * row_items + i])

        return read

    def decoder(self):
        """A Python function (item, part, offset) -> TIR integer: the code of a field of an item, of
        the codes' type; `offset()` is its output's, where fields have one."""
        bits, code = self.field_bits, self.code
        mask = (1 << bits) - 1

        def decoded(item, part, offset):
            if not self.is_packed:
                return item
            field = item if bits == 8 else T.shift_right(item, T.uint8(part * bits)) & T.uint8(mask)
            if self.is_shift:
                magnitude = T.shift_right(T.shift_left(T.uint8(1), field & T.uint8(7)), T.uint8(1))
                sign = T.int8(0) - T.Cast("int8", T.shift_right(field, T.uint8(3)))
                return T.bitwise_xor(T.Cast("int8", magnitude), sign) - sign
            return T.Cast(code, field) + offset()

        return decoded
