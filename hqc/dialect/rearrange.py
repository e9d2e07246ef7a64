"""RearrangeSpikes, RearrangePotentials and JoinPositions: numbers moved within a time step.

Any view, slice, repetition or window of channels and positions is a sum of two tables: where the
first channel of each new position is, and how far from it each new channel is.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.facts import Facts
from hqc.dialect.invariants import InvariantError, constant_of, expect, expect_within, facts_of
from hqc.dialect.layouts import WORD
from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.planes import pack_planes, unpack_planes, verify_packed, words
from hqc.dialect.potentials import pad_channels, verify_potentials


def _taken(
    x: np.ndarray, rows: np.ndarray, columns: np.ndarray, positions: list[int]
) -> np.ndarray:
    flat = x.reshape(len(x), -1)[:, rows + columns]
    return flat.reshape(len(x), *positions, columns.size)


def rearrange_potentials(
    x: np.ndarray, rows: np.ndarray, columns: np.ndarray, *, positions: list[int], channels: int
) -> np.ndarray:
    """Potentials int32 [T, H, W, 32 words(channels)] -> int32 [T, *positions, 32 words(columns)].

    Position p and channel c of a time step is number rows[p, 0] + columns[c] of that step of x.
    """
    return pad_channels(_taken(x, rows, columns, positions))


def rearrange_spikes(
    x: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    *,
    positions: list[int],
    planes: int,
    channels: int,
) -> np.ndarray:
    """Spikes uint32 [T, H, W, P, words(channels)] -> [T, *positions, planes, words(columns)].

    `rows` and `columns` count numbers as potentials lie, 32 to a word of channels.
    """
    numbers = pad_channels(unpack_planes(x, channels=channels))
    return pack_planes(_taken(numbers, rows, columns, positions), planes=planes)


def rearranged_ends(facts: Facts, channels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What numbers of these facts can be, by new channel.

    `channels` says which channel each was, [positions, new channels].
    """
    low, high = (np.atleast_1d(end) for end in (facts.low, facts.high))
    low, high = (end[channels] if end.size > 1 else end for end in (low, high))
    return low.min(0), high.max(0)


def join_positions(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[T, H, ...] and [T, H', ...] -> [T, H + H', ...]."""
    return np.concatenate([a, b], 1)


def _verify(node: ir.Node) -> None:
    x, made = node.inputs[0], node.outputs[0]
    rows, columns = (constant_of(v) for v in node.inputs[1:])
    height, width = node.attributes["positions"].value
    expect("the shape of its rows", rows.shape, (height * width, 1))
    of_spikes = node.op_type == "RearrangeSpikes"
    kinds = ("spikes", "levels") if of_spikes else ("potentials",)
    verify = verify_packed if of_spikes else verify_potentials
    if of_spikes:
        expect("the planes", made.shape.numpy()[3], node.attributes["planes"].value)
    channels = node.attributes["channels"].value
    verify(x, channels)
    verify(made, columns.size)
    pitch = WORD * words(channels)
    steps, *own = x.shape.numpy()[:3]
    expect("time steps and positions", list(made.shape.numpy()[:3]), [steps, height, width])
    for table in (rows, columns):
        expect("the type of its tables", table.dtype, np.dtype(np.int32))
    parts = zip(divmod(rows, pitch), divmod(columns, pitch), strict=True)
    position, channel = (int(r.max() + c.max()) for r, c in parts)
    if min(rows.min(), columns.min()) < 0 or position >= np.prod(own) or channel >= channels:
        raise InvariantError(f"its tables reach position {position}, channel {channel}")
    before, after = (facts_of(v, *kinds) for v in (x, made))
    expect("the unit", after.unit, before.unit)
    expect_within(made, *rearranged_ends(before, (rows + columns) % pitch))


def _verify_join(node: ir.Node) -> None:
    shapes = [list(v.shape.numpy()) for v in (*node.inputs, node.outputs[0])]
    a, b, made = shapes
    expect("its positions", made[1], a[1] + b[1])
    expect("the other sizes", [s[:1] + s[2:] for s in shapes], [made[:1] + made[2:]] * 3)
    after = facts_of(node.outputs[0], "spikes", "levels", "potentials")
    for value in node.inputs:
        x = facts_of(value, "spikes", "levels", "potentials")
        expect("the type", value.dtype, node.outputs[0].dtype)
        expect("the unit", x.unit, after.unit)
        expect_within(node.outputs[0], np.array(x.lowest), np.array(x.highest))


_TAKE = """
            all = Constant <value_ints = [0, -1]> ()
            flat = Reshape({x}, all)
            places = Add(rows, columns)
            taken = Gather <axis = 1> (flat, places)
            size_ints = Constant <value_ints: ints = @positions> ()
            steps = Shape <start = 0, end = 1> ({x})
            channels = Shape <start = -1> (taken)
            shape = Concat <axis = 0> (steps, size_ints, channels)
            made = Reshape(taken, shape)
"""

REARRANGE_POTENTIALS = register(
    Op(
        f"""
        RearrangePotentials <positions, channels> (x, rows, columns) => (y)
        {{
            {_TAKE.format(x="x")}
            y = ai.hqc.kernel.PadChannels (made)
        }}
        """,
        reference=rearrange_potentials,
        verify=_verify,
        domain=KERNEL,
        plain="numbers do not lie as what reads them takes them",
    )
)
REARRANGE_SPIKES = register(
    Op(
        f"""
        RearrangeSpikes <positions, planes, channels> (x, rows, columns) => (y)
        {{
            bytes = ai.hqc.kernel.UnpackPlanes <channels: int = @channels> (x)
            numbers = ai.hqc.kernel.PadChannels (bytes)
            {_TAKE.format(x="numbers")}
            y = ai.hqc.kernel.PackPlanes <planes: int = @planes> (made)
        }}
        """,
        reference=rearrange_spikes,
        verify=_verify,
        domain=KERNEL,
        plain="numbers do not lie as what reads them takes them",
    )
)
JOIN_POSITIONS = register(
    Op(
        "JoinPositions (a, b) => (y) { y = Concat <axis = 1> (a, b) }",
        reference=join_positions,
        verify=_verify_join,
        domain=KERNEL,
        plain="tensors are joined along positions",
    )
)
