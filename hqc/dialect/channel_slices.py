"""SliceChannels and ConcatChannels: spikes and potentials by channel.

What standard ONNX says of logical tensors (Slice, Concat), on packed spikes and potentials.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.invariants import InvariantError, expect, expect_within, facts_of
from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.planes import pack_planes, unpack_planes, verify_packed
from hqc.dialect.potentials import pad_channels, take_channels, verify_potentials

_UNPACK = "ai.hqc.kernel.UnpackPlanes <channels: int = @{channels}> ({x})"
_TAKE = "ai.hqc.kernel.TakeChannels <channels: int = @{channels}> ({x})"


def slice_channels(
    x: np.ndarray, *, channels: int, first: int, count: int, planes: int
) -> np.ndarray:
    """Spikes uint32 [T, H, W, planes, words(C)] -> channels first to first + count - 1 of them."""
    rows = unpack_planes(x, channels=channels)[..., first : first + count]
    return pack_planes(rows, planes=planes)


def slice_potentials(x: np.ndarray, *, channels: int, first: int, count: int) -> np.ndarray:
    """Potentials int32 [T, H, W, 32 words(C)] -> channels first to first + count - 1 of them."""
    return pad_channels(take_channels(x, channels=channels)[..., first : first + count])


def concat_channels(
    a: np.ndarray, b: np.ndarray, *, channels: int, others: int, planes: int
) -> np.ndarray:
    """The `channels` of spikes a, then the `others` of b; uint32 [T, H, W, planes, words]."""
    rows = [unpack_planes(x, channels=n) for x, n in ((a, channels), (b, others))]
    return pack_planes(np.concatenate(rows, -1), planes=planes)


def concat_potentials(a: np.ndarray, b: np.ndarray, *, channels: int, others: int) -> np.ndarray:
    """The `channels` of potentials a, then the `others` of b; int32 [T, H, W, 32 words]."""
    pair = [take_channels(x, channels=n) for x, n in ((a, channels), (b, others))]
    return pad_channels(np.concatenate(pair, -1))


def _verify(node: ir.Node) -> None:
    """Shapes by the op's attributes, and ranges that hold those of the inputs."""
    given = {name: a.value for name, a in node.attributes.items()}
    counts = [given["channels"], *([given["others"]] if "others" in given else [])]
    made = sum(counts)
    if "count" in given:
        made = given["count"]
        if given["first"] < 0 or given["first"] + made > given["channels"]:
            raise InvariantError(f"it takes {given['first']} to {given['first'] + made - 1}")
    potentials = node.op_type.endswith("Potentials")
    kinds = ("potentials",) if potentials else ("spikes", "levels")
    check = verify_potentials if potentials else verify_packed
    check(node.outputs[0], made)
    y = facts_of(node.outputs[0], *kinds)
    for value, channels in zip(node.inputs, counts, strict=True):
        x = facts_of(value, *kinds)
        check(value, channels)
        shapes = (list(v.shape.numpy()[:3]) for v in (value, node.outputs[0]))
        expect("time steps and positions", *shapes)
        expect("the unit", x.unit, y.unit)
        expect_within(node.outputs[0], np.array(x.lowest), np.array(x.highest))


def _slice(signature: str, rows: str, end: str) -> str:
    return f"""
        {signature} (x) => (y)
        {{
            rows = {rows.format(channels="channels", x="x")}
            last = Constant <value_ints = [-1]> ()
            first_int = Constant <value_int: int = @first> ()
            count_int = Constant <value_int: int = @count> ()
            end_int = Add(first_int, count_int)
            begin = Reshape(first_int, last)
            end = Reshape(end_int, last)
            some = Slice(rows, begin, end, last)
            y = {end}
        }}
        """


def _concat(signature: str, rows: str, end: str) -> str:
    return f"""
        {signature} (a, b) => (y)
        {{
            a_rows = {rows.format(channels="channels", x="a")}
            b_rows = {rows.format(channels="others", x="b")}
            all = Concat <axis = -1> (a_rows, b_rows)
            y = {end}
        }}
        """


_REPACK = """ai.hqc.kernel.PackPlanes <planes: int = @planes> ({x})"""

SLICE_CHANNELS = register(
    Op(
        _slice("SliceChannels <channels, first, count, planes>", _UNPACK, _REPACK.format(x="some")),
        reference=slice_channels,
        verify=_verify,
        domain=KERNEL,
    )
)
SLICE_POTENTIALS = register(
    Op(
        _slice(
            "SlicePotentials <channels, first, count>", _TAKE, "ai.hqc.kernel.PadChannels (some)"
        ),
        reference=slice_potentials,
        verify=_verify,
        domain=KERNEL,
    )
)
CONCAT_CHANNELS = register(
    Op(
        _concat("ConcatChannels <channels, others, planes>", _UNPACK, _REPACK.format(x="all")),
        reference=concat_channels,
        verify=_verify,
        domain=KERNEL,
    )
)
CONCAT_POTENTIALS = register(
    Op(
        _concat("ConcatPotentials <channels, others>", _TAKE, "ai.hqc.kernel.PadChannels (all)"),
        reference=concat_potentials,
        verify=_verify,
        domain=KERNEL,
    )
)
