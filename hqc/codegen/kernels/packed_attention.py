"""PackedAttention: K^T V first, by events; no matrix over tokens is ever made."""

from __future__ import annotations

import math
from dataclasses import replace

import onnx_ir as ir
from tvm.script import tirx as T

from hqc.codegen.kernels.kernel_base import (
    ANY,
    Input,
    KernelCall,
    Output,
    Scratch,
    kernel,
)
from hqc.codegen.kernels.lanes import add
from hqc.codegen.kernels.neurons import WORD, Neurons, fire, lowest_bit, row_of
from hqc.codegen.kernels.rows import Rows
from hqc.codegen.kernels.spikes_as_potentials import small_integer
from hqc.dialect.planes import words
from hqc.errors import UnsupportedModelError


@kernel("PackedAttention")
def emit(node: ir.Node, vector: bool) -> KernelCall:
    """The kernel of a PackedAttention.

    Row c of the product K^T V adds up, over tokens whose key fires in channel c, the values of c's
    head; a token's sums are the rows of the channels in which its query fires. A spike in plane p
    of a key or query counts 2^p times. Without vectors an int32 holds two sums where 16 bits are
    enough, as `Accumulation` says.

    Raises `UnsupportedModelError` where the sums may leave 32 bits.
    """
    shape = node.outputs[0].shape.numpy()
    tokens, channels = math.prod(shape[1:3]), node.attributes["channels"].value
    heads = node.attributes["heads"].value
    neurons, columns = Neurons.of(node), words(channels) * WORD
    head_dim, spare = divmod(channels, heads)
    planes = tuple(v.shape.numpy()[3] for v in node.inputs[:3])
    reach = tokens * head_dim * math.prod(2**p - 1 for p in planes)
    if spare:
        raise UnsupportedModelError(
            f"node {node.name!r}: {channels} channels are not {heads} heads of one size"
        )
    if reach >= 2**31:
        raise UnsupportedModelError(
            f"node {node.name!r}: q, k and v of {planes} bits over {tokens} tokens and {head_dim} "
            f"channels a head may add up to {reach}, more than 32 bits hold",
            hint="put LIF neurons between a residual sum and the attention that reads it",
        )
    in_pairs = not vector and reach < 2**15 and head_dim % 2 == 0
    per_sum, row = 2 if in_pairs else 1, row_of(channels, vector)
    potentials, _ = neurons.state(tokens, row)
    return KernelCall(
        lambda: _build(tokens, columns, channels, head_dim, planes, neurons, vector, in_pairs),
        (
            Input(0),
            Input(1),
            Input(2),
            Output(),
            neurons.levels(node, 3, channels, shape[0], vector),
            Scratch(channels * head_dim * 4 // per_sum),
            Scratch(columns * 4 // per_sum),
            replace(potentials, run_size=potentials.size),
        ),
        ("attention", tokens, columns, channels, head_dim, planes, neurons, vector),
        _rows(columns, head_dim).count,
    )


def _rows(columns: int, head_dim: int) -> Rows:
    """Rows of words of channels, each of whole heads."""
    return Rows(columns // WORD, math.lcm(head_dim, WORD) // WORD)


def _build(
    tokens: int,
    columns: int,
    channels: int,
    head_dim: int,
    planes: tuple[int, int, int],
    neurons: Neurons,
    vector: bool,
    in_pairs: bool,
):
    in_words, epilogue = columns // WORD, fire(neurons, channels, vector, in_pairs)
    row_size, rows = row_of(channels, vector), _rows(columns, head_dim)
    q_planes, k_planes, v_planes = planes
    per_sum = 2 if in_pairs else 1
    head, word_sums = head_dim // per_sum, WORD // per_sum
    add_row = add(head, "int32", vector)

    def integers_of(x, row, v):
        each = [small_integer(x, row, in_words, v_planes, v * per_sum + i) for i in range(per_sum)]
        return each[0] + T.shift_left(each[1], T.int32(16)) if in_pairs else each[0]

    @T.prim_func(s_tir=True)
    def packed_attention(
        q_p: T.handle("uint32"),
        k_p: T.handle("uint32"),
        v_p: T.handle("uint32"),
        y_p: T.handle("uint32"),
        levels_p: T.handle("int32"),
        kv_p: T.handle("int32"),
        acc_p: T.handle("int32"),
        u_p: T.handle(neurons.potential),
        t_begin: T.int32,
        steps: T.int32,
        part: T.int32,
        parts: T.int32,
    ):
        T.func_attr({"tirx.noalias": True})
        q = T.decl_buffer((ANY,), "uint32", data=q_p)
        k = T.decl_buffer((ANY,), "uint32", data=k_p)
        values = T.decl_buffer((ANY,), "uint32", data=v_p)
        y = T.decl_buffer((ANY,), "uint32", data=y_p)
        levels = T.decl_buffer((ANY,), "int32", data=levels_p)
        kv = T.decl_buffer((ANY,), "int32", data=kv_p)
        acc = T.decl_buffer((ANY,), "int32", data=acc_p)
        u = T.decl_buffer((ANY,), neurons.potential, data=u_p)
        for row in range(rows.count):
            begin: T.let = row * rows.size
            end: T.let = T.min(begin + rows.size, in_words)
            if rows.has(begin, part, parts):
                if t_begin == 0:
                    for token in range(tokens):
                        for n in T.serial(begin * WORD, T.min(end * WORD, row_size)):
                            u[token * row_size + n] = T.Cast(neurons.potential, 0)
                for s in range(steps):
                    for n in T.serial(begin * WORD * head, T.min(end * WORD, channels) * head):
                        kv[n] = 0
                    for token in range(tokens):
                        first: T.let = (s * tokens + token) * in_words
                        for w in T.serial(begin, end):
                            for v in T.vectorized(word_sums):
                                acc[w * word_sums + v] = integers_of(
                                    values, first * v_planes + w, v
                                )
                        for p in T.unroll(k_planes):
                            for w in T.serial(begin, end):
                                word = T.alloc_buffer((1,), "uint32")
                                word[0] = k[first * k_planes + p * in_words + w]
                                while word[0] != T.uint32(0):
                                    c: T.let = w * WORD + lowest_bit(word[0])
                                    add_row(kv, c * head, acc, c // head_dim * head, p)
                                    word[0] = word[0] & (word[0] - T.uint32(1))
                    for token in range(tokens):
                        first: T.let = (s * tokens + token) * in_words
                        for w in T.serial(begin, end):
                            for v in T.vectorized(word_sums):
                                acc[w * word_sums + v] = 0
                        for p in T.unroll(q_planes):
                            for w in T.serial(begin, end):
                                word = T.alloc_buffer((1,), "uint32")
                                word[0] = q[first * q_planes + p * in_words + w]
                                while word[0] != T.uint32(0):
                                    c: T.let = w * WORD + lowest_bit(word[0])
                                    add_row(acc, c // head_dim * head, kv, c * head, p)
                                    word[0] = word[0] & (word[0] - T.uint32(1))
                        for w in T.serial(begin, end):
                            epilogue(
                                acc, w * WORD, u, token * row_size + w * WORD, levels, w * WORD,
                                y, first + w, t_begin + s,
                            )  # fmt: skip

    return packed_attention
