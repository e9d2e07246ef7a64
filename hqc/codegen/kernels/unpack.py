"""Unpacking of a layer's stored weights into bytes, once per call of the layer."""

from __future__ import annotations

from tvm.script import tirx as T

from hqc.codegen.kernels.lanes import vector_width
from hqc.codegen.kernels.weights import StoredWeights


def unpack(stored_weights: StoredWeights, columns: int, vector: bool):
    """A TIR macro: stored rows -> int8 codes [K, columns]; columns beyond N become 0."""
    read = stored_weights.reader()
    rows, row_bytes = len(stored_weights.codes), stored_weights.row_bytes
    parts, used = 8 // stored_weights.field_bits, stored_weights.columns
    each, width = T.vectorized if vector else T.serial, vector_width(row_bytes)

    @T.macro
    def fill(stored, offsets, codes):
        for k in range(rows):
            for part in T.unroll(parts):
                for chunk in T.unroll(row_bytes // width):
                    for v in each(width):
                        codes[k * columns + part * row_bytes + chunk * width + v] = read(
                            stored, offsets, k, chunk * width + v, part
                        )
            if used < columns:
                for i in T.serial(columns - used):
                    codes[k * columns + used + i] = T.int8(0)

    return fill
