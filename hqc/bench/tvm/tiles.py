"""A schedule for sums of products: tiles of them stay in registers, as vectors.

TVM's own pipeline for processors leaves the loops of a convolution or a product of matrices as they
are written, one sum after another. Here a tile of sums, some rows by some vectors, is computed at
once: every vector of inputs that is loaded serves all rows, every weight all vectors. It is what
can be had without tuning.

    for outer positions:
        tile[rows, vectors] = 0
        for the terms of a sum:
            tile[r, v] += weight[r] * input[v]        unrolled over r and v
        outputs = what is fused behind (tile)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import tvm
from tvm import s_tir, tirx
from tvm.tirx.analysis import undefined_vars

_ROWS = 4
"""Rows of a tile: what one vector of inputs is multiplied with."""

_UNROLLED = 5
"""Terms along an axis of a window that are written out, as those of 3x3 and 5x5 are."""


@dataclass(frozen=True)
class Registers:
    """A machine's registers of floats: how many, and floats in each."""

    count: int
    lanes: int

    @classmethod
    def of(cls, triple: str, vector_bits: int) -> Registers:
        """Those of LLVM's triple; without vectors (0 bit) each holds one float."""
        narrow = ("arm", "thumb", "x86_64", "i386", "i486", "i586", "i686")
        few = triple.startswith(narrow) and not triple.startswith("arm64")
        return cls(16 if few else 32, max(vector_bits // 32, 1))

    @property
    def vectors(self) -> int:
        """Vectors of a tile's row: its sums, a row of inputs and a weight fill the registers."""
        return (self.count - 1) // (_ROWS + 1)


def tiled(module: tvm.IRModule, registers: Registers) -> tvm.IRModule:
    """The module, with tiles in every function that has one sum of products.

    Functions that the schedule does not fit stay as they are.
    """
    functions = {
        symbol: _tiled(function, registers) if isinstance(function, tirx.PrimFunc) else function
        for symbol, function in module.functions.items()
    }
    return tvm.IRModule(functions, attrs=module.attrs)


def _tiled(function: tirx.PrimFunc, registers: Registers) -> tirx.PrimFunc:
    schedule = s_tir.Schedule(function)
    blocks = schedule.get_child_blocks(schedule.get_sblock("root"))
    sums = [i for i, b in enumerate(blocks) if _reduced(schedule.get(b))]
    if len(sums) != 1:
        return function
    block, behind = blocks[sums[0]], blocks[sums[0] + 1 :]
    tile = _tile_of(schedule.get(block), registers)
    if tile is None:
        return function
    try:
        _apply(schedule, block, behind, tile)
    except s_tir.ScheduleError:
        return function
    return schedule.mod["main"]


@dataclass(frozen=True)
class _Tile:
    """Sizes of a tile by axis of the sum, the vectors' axis last, and the axes that are summed
    over; `lanes` are floats of a vector."""

    sizes: dict[int, int]
    reduced: Sequence[int]
    unrolled: Sequence[int]
    lanes: int


def _reduced(block: tirx.SBlock) -> list[int]:
    """The axes that a block sums over."""
    kinds = [axis.iter_type for axis in block.iter_vars]
    return [i for i, kind in enumerate(kinds) if kind == tirx.IterVar.CommReduce]


def _tile_of(block: tirx.SBlock, registers: Registers) -> _Tile | None:
    """The tile of a sum of products; None for what else is reduced, as maxima are."""
    reduced = _reduced(block)
    extents = [int(axis.dom.extent) for axis in block.iter_vars]
    free = [i for i in range(len(extents)) if i not in reduced]
    if len(block.reads) != 2 or not free:
        return None
    used = [{i for i in range(len(extents)) if _uses(read, block, i)} for read in block.reads]
    along = free[-1]
    if (along in used[0]) == (along in used[1]):
        return None
    inputs, weights = used if along in used[0] else used[::-1]
    lanes = math.gcd(extents[along], registers.lanes)
    vectors = _divisor(extents[along] // lanes, registers.vectors)
    sizes = {along: lanes * vectors}
    rows = [i for i in free if i in weights and i not in inputs]
    if rows:
        sizes = {rows[-1]: _divisor(extents[rows[-1]], _ROWS), **sizes}
    # Where lines of an image are short, a tile has several.
    lines = [i for i in free[:-1] if i in inputs and i not in weights and extents[i] > 1]
    if lines and vectors < registers.vectors:
        most = registers.vectors // vectors
        sizes = {lines[-1]: _divisor(extents[lines[-1]], most), **sizes}
    unrolled = [i for i in reduced[1:] if extents[i] <= _UNROLLED]
    return _Tile(sizes, reduced, unrolled, lanes)


def _uses(read: tvm.ir.TensorRegion, block: tirx.SBlock, axis: int) -> bool:
    var = block.iter_vars[axis].var
    return any(v.same_as(var) for each in read.region for v in undefined_vars(each.min))


def _divisor(number: int, most: int) -> int:
    """The greatest divisor that is not above `most`."""
    return max(d for d in range(1, most + 1) if number % d == 0)


def _apply(
    schedule: s_tir.Schedule,
    block: s_tir.schedule.SBlockRV,
    behind: Sequence[s_tir.schedule.SBlockRV],
    tile: _Tile,
) -> None:
    """Rewrite the loops of a sum, and put what is computed behind it on every tile."""
    for each in behind[:-1]:
        schedule.compute_inline(each)
    written = behind[-1] if behind else schedule.cache_write(block, 0, "global")
    loops = schedule.get_loops(block)
    outer, inner = [], {}
    for axis, loop in enumerate(loops):
        if axis in tile.sizes:
            around, inner[axis] = schedule.split(loop, [None, tile.sizes[axis]])
            outer.append(around)
        elif axis not in tile.reduced:
            outer.append(loop)
    *rows, along = (inner[axis] for axis in tile.sizes)
    vectors, lanes = schedule.split(along, [None, tile.lanes])
    terms = [loops[axis] for axis in tile.reduced]
    schedule.reorder(*outer, *terms, *rows, vectors, lanes)
    schedule.reverse_compute_at(written, outer[-1], preserve_unit_loops=True)
    schedule.vectorize(lanes)
    for loop in (*rows, vectors, *(loops[axis] for axis in tile.unrolled)):
        schedule.unroll(loop)
    schedule.decompose_reduction(block, terms[0])
    *rows, along = schedule.get_loops(written)[len(outer) :]
    width = math.gcd(int(schedule.get(along).extent), tile.lanes)
    vectors, lanes = schedule.split(along, [None, width])
    schedule.vectorize(lanes)
    for loop in (*rows, vectors):
        schedule.unroll(loop)
