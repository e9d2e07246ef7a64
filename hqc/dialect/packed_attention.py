"""PackedAttention: spiking self-attention on packed spikes, or packed sums of spikes."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from hqc.dialect.fixed_point_lif import FORWARD, SIGNATURE
from hqc.dialect.invariants import expect
from hqc.dialect.op import KERNEL, Op, register
from hqc.dialect.planes import pack_planes, unpack_planes, verify_packed
from hqc.dialect.spike_attention import spike_attention, verify_attention
from hqc.dialect.work import of_attention


def packed_attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    bias: np.ndarray,
    threshold: np.ndarray,
    reset: np.ndarray,
    *,
    channels: int,
    heads: int,
    **lif: int,
) -> np.ndarray:
    """`SpikeAttention` of q, k, v uint32 [T, H, W, planes, words]: positions are tokens.

    Each has planes of its own; the output has one.
    """
    time_steps, height, width = q.shape[:3]
    tokens = (time_steps, 1, height * width, channels)
    q, k, v = (unpack_planes(a, channels=channels).reshape(tokens) for a in (q, k, v))
    spikes = spike_attention(q, k, v, bias, threshold, reset, heads=heads, **lif)
    return pack_planes(spikes.reshape(time_steps, height, width, channels), planes=1)


def _verify(node: ir.Node) -> None:
    channels = node.attributes["channels"].value
    shapes = [verify_packed(v, channels) for v in (*node.inputs[:3], node.outputs[0])]
    expect("the planes of its output", shapes[3][3], 1)
    for shape in shapes[1:]:
        expect("time steps and positions", shape[:3], shapes[0][:3])
    _, height, width, *_ = shapes[0]
    verify_attention(node, height * width, channels)


PACKED_ATTENTION = register(
    Op(
        f"""
        PackedAttention <channels, heads, {SIGNATURE}>
            (q, k, v, bias, threshold, reset) => (y)
        {{
            q_rows = ai.hqc.kernel.UnpackPlanes <channels: int = @channels> (q)
            k_rows = ai.hqc.kernel.UnpackPlanes <channels: int = @channels> (k)
            v_rows = ai.hqc.kernel.UnpackPlanes <channels: int = @channels> (v)
            rows = Shape(q_rows)
            time = Shape <end = 1> (q_rows)
            channel = Shape <start = -1> (q_rows)
            one = Constant <value_ints = [1]> ()
            minus_one = Constant <value_ints = [-1]> ()
            tokens = Concat <axis = 0> (time, one, minus_one, channel)
            q_tokens = Reshape(q_rows, tokens)
            k_tokens = Reshape(k_rows, tokens)
            v_tokens = Reshape(v_rows, tokens)
            spikes = ai.hqc.SpikeAttention <heads: int = @heads, {FORWARD}>
                (q_tokens, k_tokens, v_tokens, bias, threshold, reset)
            spike_rows = Reshape(spikes, rows)
            y = ai.hqc.kernel.PackPlanes <planes = 1> (spike_rows)
        }}
        """,
        reference=packed_attention,
        verify=_verify,
        domain=KERNEL,
        work=of_attention,
    )
)
