"""Unpacking of a layer's stored weights into bytes or wider codes, once per call of the layer."""

from __future__ import annotations

from tvm.script import tirx as T

from hqc.codegen.kernels.lanes import vector_width
from hqc.codegen.kernels.weights import StoredWeights


def unpack(stored_weights: StoredWeights, columns: int, vector: bool):
    """A TIR macro: stored rows -> codes [K, columns]; columns beyond N become 0."""
    read = stored_weights.reader()
    rows, row_items = len(stored_weights.codes), stored_weights.row_items
    parts, used, code = stored_weights.parts, stored_weights.columns, stored_weights.code
    each, width = T.vectorized if vector else T.serial, vector_width(row_items)

    @T.macro
    def fill(stored, offsets, codes):
        for k in range(rows):
            for part in T.unroll(parts):
                for chunk in T.unroll(row_items // width):
                    for v in each(width):
                        codes[k * columns + part * row_items + chunk * width + v] = read(
                            stored, offsets, k, chunk * width + v, part
                        )
            if used < columns:
                for i in T.serial(columns - used):
                    codes[k * columns + used + i] = T.Cast(code, 0)

    return fill
