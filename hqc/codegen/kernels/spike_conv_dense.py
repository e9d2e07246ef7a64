"""SpikeConv by dot products: inputs become bytes, and all are multiplied.

Cost follows neither the firing rate nor the bit width. That is best where nearly all inputs fire,
or several times a step, as sums of residual streams do. The sums of a tile, some positions by 32
outputs, stay in registers while all their inputs are multiplied, four at once.

Codes are unpacked for 32 outputs at a time, which takes little memory; all tiles of a group use
them, as many as have inputs that fit the second cache.
"""

from __future__ import annotations

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.dot_codes import FOUR, DotCodes
from hqc.codegen.kernels.dotted_tiles import dot, four_inputs
from hqc.codegen.kernels.geometry import Geometry, accumulator_type, code_rows, is_wide
from hqc.codegen.kernels.kernel_base import ANY, Input, KernelCall, Output, Scratch
from hqc.codegen.kernels.lanes import clear
from hqc.codegen.kernels.neurons import WORD, Neurons, fire
from hqc.codegen.kernels.rows import Rows
from hqc.codegen.kernels.tile_sums import Tile
from hqc.codegen.kernels.weights import StoredWeights

_POSITIONS = {128: 2, 256: 3, 512: 8}
"""Positions of a tile by the bits of vectors: registers hold 32 sums of each, and 32 codes."""

_MOST_PLANES = 7
"""Some instructions take inputs for bytes with a sign."""

_GROUP_BYTES = 128 << 10

_BYTE = 8


def suits_dense(node: ir.Node) -> bool:
    """Whether a layer of spikes has codes and inputs that are bytes, and 32 bits hold its sums."""
    planes = node.inputs[0].shape.numpy()[3]
    stored = StoredWeights.of(node, code_rows(node))
    if planes > _MOST_PLANES or not stored.is_packed or stored.code != "int8":
        return False
    return accumulator_type(stored.codes, 2**planes - 1, is_wide(node)) != "int64"


def dense_layer(node: ir.Node) -> KernelCall:
    """The call of a SpikeConv that suits, by vectors of as many bits as its `dot_bits` says."""
    time_steps, height, width, planes, _ = node.inputs[0].shape.numpy()
    g, bits = Geometry.of(node, height, width, planes), node.attributes["dot_bits"].value
    codes, neurons = (
        DotCodes.of_pixels(g, StoredWeights.of(node, code_rows(node))),
        Neurons.of(node),
    )
    tile = Tile.of(g.out_height * g.out_width, _POSITIONS[bits], WORD)
    tiles = -(-g.out_height * g.out_width // tile.positions)
    tile_bytes = time_steps * tile.positions * codes.rows * FOUR
    group = min(max(_GROUP_BYTES // tile_bytes, 1), tiles)
    rows = Rows.in_lines(tiles, tile.positions * g.columns // _BYTE)
    row_size = neurons.row(g.channels, vector=True)
    return KernelCall(
        lambda: _build(g, neurons, codes, bits, tile.positions, group, rows),
        (
            Input(0),
            Output(),
            *codes.constants(),
            neurons.levels(node, 2, g.channels, time_steps, vector=True),
            Scratch(codes.block_size),
            Scratch(group * tile_bytes),
            *neurons.state(tiles, tile.positions * row_size),
        ),
        ("dense spikes", g, codes.stored.form, neurons, bits, tile, group, rows),
        rows.count,
    )


def _build(
    g: Geometry, neurons: Neurons, codes: DotCodes, bits: int, size: int, group: int, rows: Rows
):
    positions, tiles, row_bytes = g.out_height * g.out_width, rows.items, codes.rows * FOUR
    row_size, epilogue = neurons.row(g.channels, vector=True), fire(neurons, g.channels, True)
    unpack_codes, unpack_inputs = codes.unpack(), _unpack_inputs(g)
    half = -(-size // 2)  # the stack has room for the sums of half a tile, but twice
    start, add_dots = clear(half * WORD, "int32", vector=True), _add_dots(bits, row_bytes)

    @T.macro
    def fire_rows(acc, first, count, u, at, levels, y, s, position, block, t_begin):
        for p in T.unroll(count):
            if position + first + p < positions:
                out: T.let = s * positions + position + first + p
                epilogue(
                    acc, p * WORD, u, at + (first + p) * row_size, levels, block * WORD, y,
                    out * g.out_words + block, t_begin + s,
                )  # fmt: skip

    @T.prim_func(s_tir=True)
    def dense(
        x_p: T.handle("uint32"),
        y_p: T.handle("uint32"),
        weights_p: T.handle("uint8"),
        offsets_p: T.handle("int8"),
        levels_p: T.handle("int32"),
        codes_p: T.handle("int8"),
        inputs_p: T.handle("uint8"),
        u_p: T.handle(neurons.potential),
        stride: T.int32,
        t_begin: T.int32,
        steps: T.int32,
        part: T.int32,
        parts: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        x = T.decl_buffer((ANY,), "uint32", data=x_p)
        y = T.decl_buffer((ANY,), "uint32", data=y_p)
        weights = T.decl_buffer((ANY,), "uint8", data=weights_p)
        offsets = T.decl_buffer((ANY,), "int8", data=offsets_p)
        levels = T.decl_buffer((ANY,), "int32", data=levels_p)
        unpacked = T.decl_buffer((ANY,), "int8", data=codes_p)
        inputs = T.decl_buffer((ANY,), "uint8", data=inputs_p)
        u = T.decl_buffer((ANY,), neurons.potential, data=u_p)
        for first in range(-(-tiles // group)):
            for i in range(T.min(group, tiles - first * group)):
                tile: T.let = first * group + i
                for s in range(T.Select(rows.has(tile, part, parts), steps, 0)):
                    for p in range(T.min(size, positions - tile * size)):
                        to: T.let = ((i * steps + s) * size + p) * row_bytes
                        unpack_inputs(x, inputs, s, tile * size + p, to)
            for block in range(g.out_words):
                unpack_codes(weights, offsets, unpacked, block)
                for i in range(T.min(group, tiles - first * group)):
                    tile: T.let = first * group + i
                    mine: T.let = rows.has(tile, part, parts)
                    at: T.let = tile * stride + block * WORD
                    if t_begin == 0 and mine:
                        for p in range(size):
                            for v in T.vectorized(WORD):
                                u[at + p * row_size + v] = neurons.at_rest()
                    for s in range(T.Select(mine, steps, 0)):
                        acc = T.alloc_buffer((half * WORD,), "int32")
                        others = T.alloc_buffer((half * WORD,), "int32")
                        start(acc, 0)
                        start(others, 0)
                        begin: T.let = (i * steps + s) * size * row_bytes
                        for k in range(codes.rows):
                            add_dots(acc, unpacked, inputs, begin, k, 0, half)
                            add_dots(others, unpacked, inputs, begin, k, half, size - half)
                        fire_rows(
                            acc, 0, half, u, at, levels, y, s, tile * size, block, t_begin
                        )  # fmt: skip
                        fire_rows(
                            others, half, size - half, u, at, levels, y, s, tile * size, block,
                            t_begin,
                        )  # fmt: skip

    return dense


def _unpack_inputs(g: Geometry):
    """A TIR macro: the bytes of all inputs that a position sees, from inputs[to] on."""
    kernel_height, kernel_width = g.kernel
    (stride_y, stride_x), (top, left) = g.strides, g.pads

    def numbers(x, word, inside):
        """Those of a word's inputs; 0 where there is no pixel."""
        lane = T.Cast(f"uint8x{WORD}", T.Ramp(0, 1, WORD))
        own_bit = T.shift_left(
            T.Broadcast(T.uint8(1), WORD), lane % T.Broadcast(T.uint8(_BYTE), WORD)
        )
        zeros = made = T.Broadcast(T.uint8(0), WORD)
        for plane in range(g.planes):
            bits = T.if_then_else(inside, x[word + plane * g.in_words], T.uint32(0))
            spread = T.Broadcast(bits, _BYTE)
            octets = T.call_intrin(f"uint8x{WORD}", "tirx.reinterpret", spread)
            own_octet = T.Shuffle([octets], [T.int32(n // _BYTE) for n in range(WORD)])
            place = T.Broadcast(T.uint8(1 << plane), WORD)
            made = made | T.Select((own_octet & own_bit) != zeros, place, zeros)
        return made

    @T.macro
    def unpack(x, inputs, s, position, to):
        for tap in range(kernel_height * kernel_width):
            iy: T.let = position // g.out_width * stride_y - top + tap // kernel_width
            ix: T.let = position % g.out_width * stride_x - left + tap % kernel_width
            inside: T.let = iy >= 0 and iy < g.height and ix >= 0 and ix < g.width
            pixel: T.let = ((s * g.height + iy) * g.width + ix) * g.planes * g.in_words
            for w in range(g.in_words):
                at: T.let = to + (tap * g.in_words + w) * WORD
                inputs[T.Ramp(at, 1, WORD)] = numbers(x, pixel + w, inside)

    return unpack


def _add_dots(bits: int, row_bytes: int):
    """A TIR macro: add the k-th four inputs of `count` positions, each times its codes."""
    lanes = bits // 32

    @T.macro
    def add_dots(acc, codes, inputs, begin, k, first, count):
        for p in T.unroll(count):
            for v in T.unroll(WORD // lanes):
                acc[T.Ramp(p * WORD + v * lanes, 1, lanes)] = dot(
                    acc[T.Ramp(p * WORD + v * lanes, 1, lanes)],
                    four_inputs(inputs, begin + (first + p) * row_bytes + k * FOUR, bits),
                    codes[T.Ramp((k * WORD + v * lanes) * FOUR, 1, lanes * FOUR)],
                    bits,
                )

    return add_dots
