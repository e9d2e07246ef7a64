"""Unpacking of a layer's stored weights into bytes or wider codes, once per call of the layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm.script import tirx as T

from hqc.codegen.kernels.lanes import overlapping_width
from hqc.codegen.kernels.weights import StoredWeights


def codes_of(
    stored: StoredWeights,
    columns: int,
    add: Callable,
    vector: bool,
    *,
    zeros: bool = False,
    code: str | None = None,
) -> dict[str, Any]:
    """How a layer's sums get its codes, as fields of `Accumulation`: `add` reads [K, columns].

    They have the type `code`, by default the narrowest; with `zeros` a row of zeros follows them.
    They are unpacked into scratch. Wide codes, which are stored as they are, are read where they
    lie, in rows that are made up to `columns` if that makes them at most a third longer: a copy
    would take as much memory as all weights, and be made anew at every time step.
    """
    if not stored.is_packed and columns * 3 <= stored.columns * 4:
        widened = stored.widened(columns, zeros)
        return {
            "weights": widened.constants(),
            "codes_size": 0,
            "code": stored.code,
            "add": _from_weights(add),
        }
    code = code or stored.code
    return {
        "weights": stored.constants(),
        "codes_size": (len(stored.codes) + zeros) * columns * np.dtype(code).itemsize,
        "code": code,
        "prepare": unpack(stored, columns, vector, zeros, code),
        "add": add,
    }


def _from_weights(add: Callable):
    """A TIR macro: the same sums, of codes that need no unpacking."""

    @T.macro
    def add_stored(x, weights, offsets, codes, events, counts, acc, s, oy, ox, first):
        add(x, weights, offsets, weights, events, counts, acc, s, oy, ox, first)

    return add_stored


def unpack(
    stored_weights: StoredWeights,
    columns: int,
    vector: bool,
    zeros: bool = False,
    code: str | None = None,
):
    """A TIR macro: stored rows -> codes [K, columns]; columns beyond N become 0, as does a row
    after the last with `zeros`."""
    read = stored_weights.reader()
    rows, row_items = len(stored_weights.codes), stored_weights.row_items
    parts, used, code = stored_weights.parts, stored_weights.columns, code or stored_weights.code
    each = T.vectorized if vector else T.serial
    width = overlapping_width(row_items) if vector else row_items

    @T.macro
    def fill(stored, offsets, codes):
        for k in range(rows):
            for part in T.unroll(parts):
                for chunk in range(-(-row_items // width)):
                    begin: T.let = T.min(chunk * width, row_items - width)
                    for v in each(width):
                        codes[k * columns + part * row_items + begin + v] = T.Cast(
                            code, read(stored, offsets, k, begin + v, part)
                        )
            if used < columns:
                for i in T.serial(columns - used):
                    codes[k * columns + used + i] = T.Cast(code, 0)
        if zeros:
            for i in T.serial(columns):
                codes[rows * columns + i] = T.Cast(code, 0)

    return fill
